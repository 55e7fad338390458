"""What is left behind at the end: the summary, and the files that the options ask for."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Callable, Optional

from twitch.errors import UsageError
from twitch.fleet.puppetdb.changes import Group, groups_of
from twitch.fleet.puppetdb.client import PuppetDB, PuppetDBError
from twitch.fleet.run.outputs import Outputs
from twitch.fleet.show.paint import paint_for
from twitch.fleet.show.results import Results
from twitch.fleet.show.summary import summary_text
from twitch.texts import one_line

FILES = ("junit", "html", "remaining")


def check(options: Namespace) -> None:
    """Raise UsageError for a file that cannot be written, before anything is started."""
    for option in FILES:
        path = getattr(options, option)
        if path is None:
            continue
        place = Path(path) if os.path.exists(path) else Path(path).parent
        if os.path.isdir(path) or not os.access(place, os.W_OK):
            raise UsageError(f"--{option} {path} cannot be written: {place} is no place for a file")


async def end(options: Namespace, outputs: Outputs, database: Optional[PuppetDB]) -> None:
    """Print the summary, and write the files."""
    results = outputs.results
    # With --json -, standard output is for programs.
    stream = sys.stderr if options.json == "-" else sys.stdout
    print(summary_text(results, paint_for(stream), path=outputs.file), end="", file=stream)
    if options.values:
        print(await _values(results, database), file=stream)
    contents: dict[str, Callable[[], str]] = {
        "junit": lambda: _junit(results),
        "html": lambda: _html(results, outputs.file),
        "remaining": lambda: "".join(f"{name}\n" for name in results.remaining()),
    }
    for option in FILES:
        if getattr(options, option) is not None:
            try:
                Path(getattr(options, option)).write_text(contents[option](), encoding="utf-8")
            except OSError as error:
                outputs.note(f"--{option} {getattr(options, option)} cannot be written: {error.strerror}")


def _junit(results: Results) -> str:
    from twitch.fleet.show.junit import junit_of

    return junit_of(results)


def _html(results: Results, path: Optional[str]) -> str:
    from twitch.fleet.show.html import page_of

    return page_of(results, path=path)


async def _values(results: Results, database: Optional[PuppetDB]) -> str:
    """Return the old and new values of all changes: they are in PuppetDB alone, and can be secrets."""
    if database is None:
        return "\n--values: values are in PuppetDB, and there is none"
    runs = [node.run for node in results.nodes.values() if node.run and node.report]
    try:
        groups = await groups_of(database, runs, values=True)
    except PuppetDBError as error:
        return f"\n--values: {error}"
    return "\n".join(["", "Values, by the number of nodes", *map(_group, groups)])


def _group(group: Group) -> str:
    name = f" {group.property_name}" if group.property_name else ""
    values = f"{group.old_value!r} -> {group.new_value!r}"
    return one_line(f"{group.runs:>8,}  {group.resource}{name}  {group.status}  {values}")
