"""The style of the page: light and dark, on a phone, on paper; without fonts or pictures from elsewhere.

Colours of text have a contrast of 4.5 or more on what they stand on (WCAG 2.2, 1.4.3), which a test in
Chromium computes. No meaning is in a colour alone: each has its word beside it.
"""

from __future__ import annotations

from twitch.fleet.outcomes import Outcome

# Outcomes of one kind have one colour: the variable of it below.
COLOURS = {
    Outcome.UNCHANGED: "unchanged",
    Outcome.CHANGED: "changed",
    Outcome.PENDING: "pending",
    Outcome.FAILED: "failed",
    Outcome.INTERRUPTED: "failed",
    Outcome.NOT_ATTEMPTED: "failed",
    Outcome.REFUSED: "failed",
    Outcome.UNPROVEN: "uncertain",
    Outcome.LATE: "uncertain",
    Outcome.LOST: "uncertain",
    Outcome.UNREACHABLE: "unreachable",
    Outcome.NOT_STARTED: "idle",
    Outcome.DISABLED: "idle",
}

STYLE = """
:root {
  color-scheme: light dark;
  --back: #f4f5f7; --card: #ffffff; --sunk: #f4f5f7; --line: #d9dee5; --ink: #1c2128; --soft: #57606a;
  --link: #0a58ca; --bad-back: #fff0ee; --bad-ink: #8e1519; --good-back: #e9f8ee; --good-ink: #0f5a2a;
  --failed: #c9252d; --unreachable: #3a4450; --uncertain: #8a6100; --changed: #0b62d0; --pending: #7a3fd1;
  --idle: #646c76; --unchanged: #6a7480; --fixed: #157a36;
  --bar-unchanged: #b9c2cc; --bar-idle: #dde2e8;
  --mono: ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
}
@media screen and (prefers-color-scheme: dark) { :root {
  --back: #0e1116; --card: #171b22; --sunk: #0e1116; --line: #2d343d; --ink: #e7ecf2; --soft: #9aa4af;
  --link: #6cb0ff; --bad-back: #36161a; --bad-ink: #ffc9c4; --good-back: #10301c; --good-ink: #b5f0c6;
  --failed: #ff7b72; --unreachable: #d5dde6; --uncertain: #dcab30; --changed: #62abff; --pending: #bd93ff;
  --idle: #98a2ad; --unchanged: #98a2ad; --fixed: #4cc76a;
  --bar-unchanged: #4a525d; --bar-idle: #2f363f;
} }
@media (prefers-contrast: more) { :root { --line: #6e7781; --soft: var(--ink); --idle: var(--ink); } }
@media (forced-colors: active) { .share i, .legend i, svg { forced-color-adjust: none; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--back); color: var(--ink); line-height: 1.5; overflow-wrap: anywhere;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums; }
main, header, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2.5rem; }
h1 { font-size: clamp(1.6rem, 1.1rem + 2.2vw, 2.3rem); line-height: 1.15; letter-spacing: -.02em; margin: 0; }
h2 { font-size: 1.2rem; letter-spacing: -.01em; margin: 2.5rem 0 .75rem; }
h2 small { font-weight: 400; font-size: .95rem; color: var(--soft); letter-spacing: 0; margin-left: .35rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .5rem 0; }
code, .mono { font-family: var(--mono); font-size: .86em; }
a { color: var(--link); }
.label { display: inline-block; margin: 0 0 .6rem; padding: .1rem .6rem; border: 1px solid var(--line);
  border-radius: 1rem; background: var(--card); color: var(--soft); font-size: .85rem; }
.verdict { margin: 1.1rem 0 0; padding: .85rem 1.1rem; border-radius: .6rem; font-size: 1.15rem;
  border-left: .4rem solid; }
.verdict.bad { background: var(--bad-back); color: var(--bad-ink); border-color: var(--failed); }
.verdict.good { background: var(--good-back); color: var(--good-ink); border-color: var(--fixed); }
.verdict p { margin: .25rem 0 0; font-size: .95rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.1rem; margin: 1.1rem 0 0;
  font-size: .92rem; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.1rem;
  margin: .75rem 0; }
.share { display: flex; height: .9rem; border-radius: .45rem; overflow: hidden; gap: 2px; margin: 0 0 1rem; }
.share i { min-width: 4px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.4rem, 1fr)); gap: .6rem;
  padding: 0; margin: 0; list-style: none; }
.tiles li { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .7rem .75rem; border-top: .25rem solid var(--tone); overflow-wrap: normal; }
.tiles b { display: block; font-size: 1.7rem; line-height: 1.15; letter-spacing: -.02em; }
.tiles span { color: var(--tone); font-weight: 600; font-size: .93rem; }
.tiles em { display: block; font-style: normal; font-size: .84rem; color: var(--soft); line-height: 1.35; }
.plot { position: relative; padding-left: 2.9rem; }
.plot svg { display: block; width: 100%; height: 11rem; border-bottom: 1px solid var(--line);
  shape-rendering: crispEdges; }
.plot.low svg { height: 3.2rem; }
.plot .top { position: absolute; left: 0; top: -.55rem; width: 2.4rem; text-align: right; }
.plot .bottom { position: absolute; left: 0; bottom: -.55rem; width: 2.4rem; text-align: right; }
.axis { position: relative; height: 1.4rem; margin-left: 2.9rem; }
.axis span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.axis span:first-child { transform: none; }
.top, .bottom, .axis, .legend, figcaption { color: var(--soft); font-size: .8rem; }
figure { margin: 0; }
figcaption { margin: 1rem 0 .6rem; font-size: .9rem; }
figcaption:first-child { margin-top: 0; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .8rem 0 0; padding: 0; list-style: none;
  font-size: .85rem; }
.legend i { display: inline-block; width: .75em; height: .75em; border-radius: .2em; margin-right: .4em; }
.lane { display: grid; grid-template: "name bar took" / minmax(6rem, 16rem) 1fr 9.5rem; gap: 0 .8rem;
  align-items: center; font-size: .85rem; padding: .12rem 0; }
.lane svg { grid-area: bar; width: 100%; height: .8rem; background: var(--sunk); border-radius: .2rem; }
.lane .mono { grid-area: name; } .lane .soft { grid-area: took; }
.cause { padding: .9rem 0; border-top: 1px solid var(--line); }
.cause:first-of-type { border-top: 0; padding-top: 0; }
.cause:last-of-type { padding-bottom: 0; }
.cause > b { font-size: 1.15rem; color: var(--tone); margin-right: .5rem; }
.cause > code { font-weight: 600; }
.cause p { margin: .1rem 0 .35rem; }
.badge { display: inline-block; padding: 0 .5rem; border: 1px solid currentColor; border-radius: .8rem;
  color: var(--tone); font-size: .8rem; font-weight: 600; white-space: nowrap; }
details { margin: .2rem 0; }
summary { cursor: pointer; color: var(--link); width: fit-content; font-size: .92rem;
  padding: .15rem 0; border-radius: .2rem; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.nodes { margin: .4rem 0; padding: .6rem .8rem; background: var(--sunk); border-radius: .4rem;
  max-height: 20rem; overflow-y: auto; user-select: all; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .82rem; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid var(--line);
  white-space: nowrap; }
td { padding: .5rem .6rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child > td { border-bottom: 0; }
@media (min-width: 40.01rem) { .unit { display: none; } }
.list th:first-child { width: 17rem; }
.took { white-space: nowrap; }
.number { text-align: right; white-space: nowrap; font-weight: 600; }
th.number { font-weight: 600; }
tr.red { background: var(--bad-back); color: var(--bad-ink); }
tr.red td:first-child { box-shadow: inset .25rem 0 0 var(--failed); padding-left: .6rem; }
tr.red .badge { color: var(--bad-ink); }
.paste { margin: .4rem 0 0; padding: .6rem .8rem; background: var(--sunk); border: 1px solid var(--line);
  border-radius: .4rem; white-space: pre-wrap; user-select: all; font-size: .88rem; }
.soft { color: var(--soft); }
.tone-failed { --tone: var(--failed); } .tone-unreachable { --tone: var(--unreachable); }
.tone-uncertain { --tone: var(--uncertain); } .tone-changed { --tone: var(--changed); }
.tone-pending { --tone: var(--pending); } .tone-idle { --tone: var(--idle); }
.tone-unchanged { --tone: var(--unchanged); } .tone-fixed { --tone: var(--fixed); }
.fill-failed { fill: var(--failed); background: var(--failed); }
.fill-unreachable { fill: var(--unreachable); background: var(--unreachable); }
.fill-uncertain { fill: var(--uncertain); background: var(--uncertain); }
.fill-changed { fill: var(--changed); background: var(--changed); }
.fill-pending { fill: var(--pending); background: var(--pending); }
.fill-idle { fill: var(--bar-idle); background: var(--bar-idle); }
.fill-unchanged { fill: var(--bar-unchanged); background: var(--bar-unchanged); }
footer { color: var(--soft); font-size: .85rem; padding-top: 2rem; padding-bottom: 3rem; }
@media (max-width: 40rem) {
  main, header, footer { padding-left: 1rem; padding-right: 1rem; }
  header { padding-top: 1.5rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dt { margin-top: .5rem; font-size: .84rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: .5rem; }
  .lane { grid-template: "name took" "bar bar" / 1fr max-content; padding: .3rem 0; }
  table, tbody, tr, td { display: block; } thead { display: none; }
  tr { padding: .6rem 0; border-bottom: 1px solid var(--line); } tr:last-child { border-bottom: 0; }
  td { border: 0; padding: .1rem 0; } td.number { text-align: left; font-size: 1.1rem; }
  td:empty { display: none; }
  tr.red { padding-left: .7rem; box-shadow: inset .25rem 0 0 var(--failed); }
  tr.red td:first-child { box-shadow: none; padding-left: 0; }
}
@media print {
  :root { --back: #fff; --card: #fff; --sunk: #fff; --line: #bbb; --ink: #000; --soft: #444;
    --bad-back: #fff; --good-back: #fff; --bar-unchanged: #b9c2cc; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html { font-size: 9.5pt; } body { font-size: 1rem; } main, header, footer { max-width: none; padding: 0; }
  .card, .cause, tr, .tiles li, figure { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .nodes { max-height: none; padding: 0; }
  details.print::details-content { content-visibility: visible; block-size: auto; }
}
"""
