"""The command `show`: the summary of an earlier run again, and the nodes of one group."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from twitch import durations
from twitch.errors import UsageError
from twitch.fleet import exits
from twitch.fleet.options import Parser
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show import digest, recent, ticket
from twitch.fleet.show.brief import brief
from twitch.fleet.show.causes import line_of, why
from twitch.fleet.show.changes import place_of, rows_of
from twitch.fleet.show.folding import fold
from twitch.fleet.show.groups import GROUPS, nodes_of
from twitch.fleet.show.paint import Paint, paint_for
from twitch.fleet.show.reports import Files
from twitch.fleet.show.result_file import STANDARD_STREAM, read
from twitch.fleet.show.results import NodeResult, Results
from twitch.fleet.show.summary import change_lines, summary_text
from twitch.texts import one_line

CHANGES = "changes"

MAX_ALONE = 4000  # characters of a text of a node that is shown alone; --json has all of it

EPILOG = """\
GROUP is one of
{words}
  changes        the whole table of changes, instead of nodes
or the title of a resource as in the table of changes, such as 'File[/etc/motd]', or the name of a node.

Without RESULT, the newest in {folder} is shown.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(list(arguments))
    path, group = _path_and_group(options.result, options.group)
    results = read(path)
    files = Files(junit=options.junit, html=options.html)
    if any(files):
        files.check()
        errors = files.write(results, result=None if path == STANDARD_STREAM else path)
        if errors:
            raise UsageError("; ".join(errors))
        if not (group or options.json or options.names):
            return exits.OK
    if options.json:
        print(json.dumps(_group_fields(results, group) if group else _fields(results)))
    elif options.names:
        print("\n".join(one_line(node.name) for node in nodes_of(results, group or Outcome.FAILED.option)))
    elif group:
        print(_group_text(results, group, paint_for(sys.stdout)), end="")
    else:
        print(summary_text(results, paint_for(sys.stdout), path=path), end="")
    return exits.OK


def _parser() -> Parser:
    words = "\n".join(f"  {group:<14} {meaning}".rstrip() for group, (meaning, _) in GROUPS.items())
    parser = Parser(
        "show",
        "Show the result of an earlier run: its summary, or the nodes of one group.",
        EPILOG.format(words=words, folder=recent.folder()),
    )
    parser.add_argument("result", metavar="RESULT", nargs="?", help="a file of --json; -: standard input")
    parser.add_argument("group", metavar="GROUP", nargs="?", help="show the nodes of this group")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="as one JSON object")
    output.add_argument(
        "--names", action="store_true", help="only the names of the group (failed), one a line"
    )
    parser.add_argument("--html", metavar="FILE", help="write the page for a ticket or a mail")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML, for GitLab and Jenkins")
    return parser


def _path_and_group(result: Optional[str], group: Optional[str]) -> tuple[str, Optional[str]]:
    """Return the file and the group: one word alone is a group if it is no file but names one."""
    if result is None:
        return str(recent.newest()), None
    if (
        group is None
        and result != "-"
        and not Path(result).exists()
        and (result in GROUPS or result == CHANGES)
    ):
        return str(recent.newest()), result
    return result, group


# ---- a group as text


def _group_text(results: Results, group: str, paint: Paint) -> str:
    if group == CHANGES:
        rows = rows_of(results, merge=False)
        return "".join(f"{line}\n" for line in change_lines(rows, paint)) or "no changes\n"
    nodes = nodes_of(results, group)
    lines = [
        paint.bold(digest.number_of(len(nodes), "node")),
        one_line(fold(node.name for node in nodes)),
        "",
    ]
    for node in nodes:
        lines += _node_lines(node, paint, alone=len(nodes) == 1)
    return "\n".join(lines if nodes else lines[:1]) + "\n"


def _node_lines(node: NodeResult, paint: Paint, *, alone: bool) -> list[str]:
    """Return the outcome of a node, and why; of a node alone also what happened to its resources."""
    outcome = paint.outcome(node.outcome, node.outcome.value) if node.outcome else node.step or "not asked"
    new = {True: " (new)", False: " (as before)", None: ""}[node.new]
    took = f", {durations.shown(node.duration_s)}" if node.duration_s is not None else ""
    run = f", run {node.run}" if node.run else ""
    lines = [one_line(f"{node.name}  ") + outcome + one_line(f"{new}{took}{run}")]
    if node.error:
        lines.append(f"    {brief(node.error, MAX_ALONE) if alone else line_of(node)}")
    for change in node.changes if alone else ():
        properties = ", ".join(change.properties)
        cells = (change.outcome, change.resource, properties, place_of(change))
        lines.append(brief(f"    {'  '.join(cell for cell in cells if cell)}", MAX_ALONE))
        if change.message and change.message not in (node.error or ""):
            lines.append(f"        {brief(change.message, MAX_ALONE)}")
    return lines


# ---- JSON


def _fields(results: Results) -> dict[str, Any]:
    """Return the summary as an object."""
    return {
        "headline": digest.headline(results),
        "nodes": len(results.nodes),
        "outcomes": {outcome.value: number for outcome, number in results.outcomes.items() if number},
        "failed_new": results.failed_new if results.compared else None,
        "failed_before": results.failed_before if results.compared else None,
        "fixed": results.fixed,
        "remaining": results.remaining(),
        "complete": results.summary is not None,
        "exit": results.summary.exit if results.summary else None,
        "causes": [
            {
                "group": section.group,
                "outcome": cause.outcome.value,
                "resource": cause.resource,
                "message": cause.message,
                "nodes": list(cause.nodes),
            }
            for section in digest.sections(results)
            for cause in section.causes
        ],
        "changes": [
            {
                "resource": row.resource,
                "properties": list(row.properties),
                "place": row.place,
                "outcome": row.outcome,
                "applied_although_noop": row.applied,
                "nodes": list(row.nodes),
            }
            for row in rows_of(results, merge=False)
        ],
        "ticket": ticket.paragraph(results),
        "query": ticket.query(results),
    }


def _group_fields(results: Results, group: str) -> dict[str, Any]:
    """Return the nodes of a group as an object."""
    return {
        "group": group,
        "nodes": [
            {
                "node": node.name,
                "outcome": node.outcome.value if node.outcome else None,
                "new": node.new,
                "run": node.run,
                "duration_s": node.duration_s,
                "report": node.report,
                "cause": dict(zip(("resource", "message"), why(node))),
                "error": node.error,
            }
            for node in nodes_of(results, group)
        ],
    }
