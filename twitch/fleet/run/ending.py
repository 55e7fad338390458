"""What is left behind at the end: the summary, and the files that the options ask for."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Optional

from twitch.fleet.puppetdb.changes import Group, groups_of
from twitch.fleet.puppetdb.client import PuppetDB, PuppetDBError
from twitch.fleet.run.outputs import Outputs
from twitch.fleet.show.paint import paint_for
from twitch.fleet.show.reports import Files
from twitch.fleet.show.result_file import STANDARD_STREAM
from twitch.fleet.show.results import Results
from twitch.fleet.show.summary import summary_text
from twitch.texts import one_line


def files(options: Namespace) -> Files:
    """Return the files that the options ask for."""
    return Files(options.junit, options.html, options.remaining)


async def end(options: Namespace, outputs: Outputs, database: Optional[PuppetDB]) -> None:
    """Write the files, and print the summary."""
    results = outputs.results
    # The files come first: standard output may have lost its reader, as with `| head`.
    errors = files(options).write(results, result=outputs.file)
    # With --json -, standard output is for programs.
    stream = sys.stderr if options.json == STANDARD_STREAM else sys.stdout
    print(summary_text(results, paint_for(stream), path=outputs.file), end="", file=stream)
    if options.values:
        print(await _values(results, database), file=stream)
    for error in errors:
        outputs.note(error)


async def _values(results: Results, database: Optional[PuppetDB]) -> str:
    """Return the old and new values of all changes: they are in PuppetDB alone, and can be secrets."""
    if database is None:
        return "\n--values: values are in PuppetDB, and there is none"
    runs = [node.run for node in results.nodes.values() if node.run and node.report]
    try:
        groups = await groups_of(database, runs)
    except PuppetDBError as error:
        return f"\n--values: {error}"
    return "\n".join(["", "Values, by the number of nodes", *map(_group, groups)])


def _group(group: Group) -> str:
    name = f" {group.property_name}" if group.property_name else ""
    values = f"{group.old_value!r} -> {group.new_value!r}"
    return one_line(f"{group.runs:>8,}  {group.resource}{name}  {group.status}  {values}")
