"""The screens: `Lines` and `Live`, and which of them is chosen."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.fleet.show import realistic
from twitch.fleet.events import Ask, NodeEvent, Plan, Summary
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show import lines, live
from twitch.fleet.show.lines import Lines
from twitch.fleet.show.live import Live
from twitch.fleet.show.results import Results
from twitch.fleet.show.screen import Screen

HERE = Path(__file__).resolve().parents[4]
EVIL = "\x1b[2J[red]no[/red]\r\nforged"
PLAN = Plan(0.0, ("a", "b", "c"), Ask(label="CHG-1"), "", 20, 0, 0, None, 1, "db", (), ("b",))


def play(screen: Screen, results: Results, *events: Plan | NodeEvent) -> None:
    for event in events:
        results.add(event)
        if isinstance(event, Plan):
            screen.plan(event)
        else:
            screen.event(event)


def ended(node: str, outcome: Outcome, error: str | None = None) -> NodeEvent:
    return NodeEvent(3.0, node, "ended", node, outcome, error=error, duration_s=2.0)


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test depend on how fast it is; those about time set their own."""
    monkeypatch.setattr(lines, "PROGRESS_S", 3600)
    monkeypatch.setattr(live, "UPDATE_S", 3600)


# ---- plain lines


def lines_of(*events: Plan | NodeEvent, quiet: bool = False) -> list[str]:
    results, stream = Results(), io.StringIO()
    play(Lines(results, stream, quiet=quiet), results, PLAN, *events)
    return stream.getvalue().splitlines()


LONG = "x" * 256 * 1024  # as long as an answer of a node can be


def test_lines_of_long_errors_and_notes_are_bounded() -> None:
    assert max(map(len, lines_of(ended("a", Outcome.UNREACHABLE, LONG)))) < 500
    assert max(map(len, lines_of(ended("a", Outcome.FAILED, f"File[/{LONG}]: {LONG}")))) < 500
    stream = io.StringIO()
    Lines(Results(), stream).note(f"node1 changes File[/{LONG}], which no canary has changed")
    assert len(stream.getvalue()) < 2500


def test_lines_have_the_beginning_and_each_run_that_is_not_unchanged() -> None:
    assert lines_of(
        ended("a", Outcome.UNCHANGED),
        ended("b", Outcome.FAILED, "no space"),
        ended("c", Outcome.CHANGED, "x"),
    ) == [
        "CHG-1: Puppet run on 3 nodes, 20 at once",
        "b failed (as before) in 2s: no space",
        "c changed in 2s",
    ]


def test_lines_are_without_control_characters() -> None:
    (_, line) = lines_of(ended("a", Outcome.FAILED, EVIL))
    assert line == "a failed (new) in 2s: \\x1b[2J[red]no[/red] forged"


def test_quiet_lines_are_notes_only() -> None:
    results, stream = Results(), io.StringIO()
    screen = Lines(results, stream, quiet=True)
    play(screen, results, PLAN, ended("a", Outcome.FAILED))
    screen.window(8, 20, "full")
    screen.note("PuppetDB cannot be reached")
    screen.close(results)
    assert stream.getvalue() == "PuppetDB cannot be reached\n"


def test_lines_say_the_window_when_its_reason_changes() -> None:
    results, stream = Results(), io.StringIO()
    screen = Lines(results, stream)
    for limit, reason in ((20, None), (8, "14 in the queue"), (8, "14 in the queue"), (20, None)):
        screen.window(limit, 20, reason)
    assert stream.getvalue().splitlines() == ["8 of 20 at once: 14 in the queue", "20 at once again"]


def test_lines_say_how_far_the_whole_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PROGRESS_S", 0)
    progress = lines_of(NodeEvent(5.0, "a", "running", "1"))
    assert progress[1:] == ["0 of 3 done, 1 running, 5s"]


# ---- live


def console_of(width: int = 80, height: int = 24) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        height=height,
        highlight=False,
        color_system=None,
    )


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def view_of(results: Results, screen: Live, console: Console, now: float = 100.0) -> list[str]:
    paper = Console(file=io.StringIO(), width=console.width, height=console.height, color_system=None)
    paper.print(screen.view(now))
    return shown(paper).splitlines()


@pytest.mark.parametrize(("width", "height"), [(20, 3), (40, 6), (80, 24), (200, 60)])
def test_live_area_fits_the_terminal(width: int, height: int) -> None:
    results, console = Results(), console_of(width, height)
    screen = Live(results, console)
    for line in realistic.lines(500):
        if not isinstance(line, Summary):
            results.add(line)
    screen.window(8, 20, "puppetserver01 has 14 in its queue, oldest 9 s")
    view = view_of(results, screen, console, realistic.BEGAN + 30)
    assert 0 < len(view) < height
    assert max(map(len, view)) <= width


def test_live_area_says_how_far_the_whole_is_and_what_runs_longest() -> None:
    results, console = Results(), console_of()
    screen = Live(results, console)
    for event in (
        PLAN, NodeEvent(1.0, "a", "running", "1"), NodeEvent(2.0, "b", "running", "2"),
        ended("c", Outcome.FAILED, "x"),
    ):  # fmt: skip
        results.add(event)
    screen.window(8, 20, "puppetserver has 14 in its queue, oldest 9 s")
    headline, bar, counts, running, longest, next_longest = view_of(results, screen, console, 61.0)
    assert headline == "CHG-1: Puppet run, 1 of 3 nodes, 1 newly failed"
    assert bar.endswith("  1m 1s")
    assert counts == "1 failed (1 new)"
    assert running == "2 running, 20 → 8 at once: puppetserver has 14 in its queue, oldest 9 s"
    assert (longest.split(), next_longest.split()) == (["1m", "a"], ["59s", "b"])


def test_live_area_estimates_the_rest_after_some_ends() -> None:
    results, console = Results(), console_of()
    screen = Live(results, console)
    names = tuple(f"n{at}" for at in range(20))
    results.add(PLAN._replace(nodes=names))
    for name in names[:10]:
        results.add(ended(name, Outcome.UNCHANGED))
    assert view_of(results, screen, console, 60.0)[1].endswith("  1m, about 1m left")


def test_live_failures_stay_above_the_area_without_markup_or_control_characters() -> None:
    results, console = Results(), console_of(width=100)
    screen = Live(results, console)
    play(screen, results, PLAN, ended("a", Outcome.FAILED, EVIL), ended("b", Outcome.FAILED, "as before"))
    screen.note("the [bold]queue[/bold]")
    screen.close(results)
    text = shown(console)
    assert "a failed: \\x1b[2J[red]no[/red] forged" in text
    assert "the [bold]queue[/bold]" in text
    assert "b failed: as before" not in text
    assert "\x1b[2J" not in text


def test_live_area_is_drawn_anew_only_after_a_while() -> None:
    results, console = Results(), console_of()
    screen = Live(results, console)
    play(screen, results, *(line for line in realistic.lines(1000) if not isinstance(line, Summary)))
    assert "999 of 1,000 nodes" not in shown(console)
    screen.close(results)


async def test_live_clocks_go_on_without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TICK_S", 0.01)
    monkeypatch.setattr(live, "UPDATE_S", 0.0)
    results, console = Results(), console_of()
    screen = Live(results, console)
    play(screen, results, PLAN)
    first = len(shown(console))

    async def drawn_anew() -> None:
        while len(shown(console)) == first:
            await asyncio.sleep(0.01)

    await asyncio.wait_for(drawn_anew(), 60)
    screen.close(results)


def test_live_failures_beyond_a_screenful_are_kept_in_the_area(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_ABOVE", 2)
    results, console = Results(), console_of()
    screen = Live(results, console)
    names = tuple(f"n{at}" for at in range(9))
    play(screen, results, PLAN._replace(nodes=names), *(ended(name, Outcome.FAILED, "x") for name in names))
    assert view_of(results, screen, console)[-1] == "n8 failed: x"
    assert "n3 failed" not in shown(console)
    screen.close(results)


# ---- which one

CHOOSE = """
from twitch.fleet.show.results import Results
from twitch.fleet.show.screen import open_screen
print(type(open_screen(Results(), quiet=QUIET)).__name__)
"""


def chosen(*, terminal: bool, quiet: bool = False, **environment: str) -> str:
    """Return the screen that a process with this standard error has."""
    above, below = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHOOSE.replace("QUIET", str(quiet))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=below if terminal else subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", **environment},
            cwd=HERE,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        os.close(above)
        os.close(below)
    return done.stdout.strip()


def test_a_terminal_that_can_move_its_cursor_gets_the_live_area() -> None:
    assert chosen(terminal=True) == "Live"
    assert chosen(terminal=True, NO_COLOR="1") == "Live"
    assert chosen(terminal=True, TERM="dumb") == "Lines"
    assert chosen(terminal=True, quiet=True) == "Lines"
    assert chosen(terminal=False) == "Lines"


def test_live_area_has_no_colours_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    results = Results()
    screen = Live(results, console)
    play(screen, results, PLAN, ended("a", Outcome.FAILED, "x"))
    screen.close(results)
    assert not re.search(r"\x1b\[3[0-9]", shown(console))
