"""What a result comes to, in the order in which an operator needs it: for summary, page and ticket."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from typing import NamedTuple, Optional

from twitch import durations
from twitch.fleet import exits
from twitch.fleet.events import QUEUED, RUNNING
from twitch.fleet.open_runs import open_runs
from twitch.fleet.outcomes import FAILURES, UNCERTAIN, Outcome
from twitch.fleet.show.brief import brief
from twitch.fleet.show.causes import Cause, causes_of
from twitch.fleet.show.folding import shorten
from twitch.fleet.show.results import REMAINING, NodeResult, Results
from twitch.texts import one_line

COMMAND = "puppet-twitch-fleet"

NAMES_WIDTH = 60  # of the names in a sentence


# What the bits of the exit status mean (exits.py).
EXITS = {
    exits.FAILURES: "more failures than allowed",
    exits.UNREACHABLE: "more nodes out of reach than allowed",
    exits.STOPPED: "stopped early",
    exits.UNCERTAIN: "runs that are unproven, late or lost",
    exits.CHANGES_PENDING: "changes pending",
}

# Unless environment.conf has a config_version, the version is the time of the catalog in epoch seconds, which
# differs for every run of the same code (seen with puppetserver 7.9.5 and 8.7.0).
TIME_OF_CATALOG = re.compile(r"[0-9]{10}")


class Counted(NamedTuple):
    """A line of the numbers: an outcome, or what is counted beside the outcomes."""

    outcome: Optional[Outcome]
    word: str
    number: int
    note: str = ""


class Section(NamedTuple):
    """Nodes that are not good in one way, by cause."""

    title: str
    group: str  # what `show RESULT GROUP` takes
    urgent: bool
    causes: list[Cause]

    @property
    def number(self) -> int:
        """The number of nodes."""
        return sum(len(cause.nodes) for cause in self.causes)


def number_of(number: int, one: str, many: Optional[str] = None) -> str:
    """Return `1 node` or `10,000 nodes`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def headline(results: Results) -> str:
    """Return on one line what is wrong, and on how many nodes; or that nothing is."""
    compared = results.compared
    parts = [
        (results.failed_new if compared else results.failed, "newly failed" if compared else "failed"),
        (results.count(Outcome.UNREACHABLE), "unreachable"),
        (results.count(Outcome.LATE), "late"),
        (results.count(Outcome.LOST), "lost"),
        (results.count(Outcome.UNPROVEN), "unproven"),
        (results.count(Outcome.NOT_STARTED), "not started"),
        (len(results.nodes) - results.finished, "without an end"),
        (results.failed_before if compared else 0, "failed as before"),
    ]
    wrong = ", ".join(f"{number:,} {what}" for number, what in parts if number)
    if wrong:
        return wrong
    good = "nothing failed" if results.count(Outcome.DISABLED) else "all are good"
    pending = results.count(Outcome.PENDING)
    return f"{good}; {pending:,} would change" if pending else good


def wrong(results: Results) -> bool:
    """Return whether an operator should look, apart from what failed before."""
    return bool(
        (results.failed_new if results.compared else results.failed)
        or results.count(*UNCERTAIN, Outcome.UNREACHABLE, Outcome.NOT_STARTED)
        or results.finished < len(results.nodes)
    )


def asked(results: Results) -> str:
    """Return what the nodes were asked for: `Puppet run (noop, tags ntp,ssh) CHG-4711`."""
    plan = results.plan
    if plan is None:
        return "Puppet run"
    ask = plan.ask
    options = [
        *(["noop"] if ask.noop else []),
        *([f"tags {','.join(ask.tags)}"] if ask.tags else []),
        *([f"environment {ask.environment}"] if ask.environment else []),
    ]
    return one_line(f"Puppet run ({', '.join(options)})" if options else "Puppet run")


def elapsed(results: Results) -> str:
    """Return the time from the first line to the last, such as `22m 10s`."""
    return durations.shown((results.latest or 0) - (results.began or 0))


def counted(results: Results) -> list[Counted]:
    """Return the number of each outcome that occurred, in the order of outcomes.py, then `fixed`."""
    lines = [
        Counted(outcome, outcome.value, results.outcomes[outcome], _note(results, outcome))
        for outcome in Outcome
        if results.outcomes[outcome]
    ]
    unknown = len(results.nodes) - results.finished
    if unknown:
        why = "left, or not asked any more" if results.summary else "the result stops before"
        lines.append(Counted(None, "no end", unknown, why))
    if results.fixed:
        lines.append(Counted(None, "fixed", results.fixed, "failed before, and good now"))
    return lines


def _note(results: Results, outcome: Outcome) -> str:
    if outcome in FAILURES and results.compared:
        old = sum(1 for _ in results.having({outcome}, new=False))
        new = results.outcomes[outcome] - old
        numbers = ((new, "new"), (old, "as before"))
        return ", ".join(f"{number:,} {word}" for number, word in numbers if number)
    return {Outcome.PENDING: "would change", Outcome.LATE: "still running, and not followed"}.get(outcome, "")


def sections(results: Results) -> list[Section]:
    """Return the nodes that are not good, by cause; first what an operator has to look at."""
    new: list[NodeResult] = []
    old: list[NodeResult] = []
    other: dict[str, list[NodeResult]] = defaultdict(list)
    for node in results.nodes.values():
        if node.outcome in FAILURES:
            (old if node.new is False else new).append(node)
        elif node.outcome in UNCERTAIN:
            other["uncertain"].append(node)
        elif node.outcome in (Outcome.UNREACHABLE, Outcome.NOT_STARTED, Outcome.DISABLED):
            other[node.outcome.option].append(node)
    listed = [
        ("New failures" if results.compared else "Failures", "new", True, new),
        ("Unreachable", Outcome.UNREACHABLE.option, True, other[Outcome.UNREACHABLE.option]),
        ("Late, lost or unproven", "uncertain", True, other["uncertain"]),
        ("Not started", Outcome.NOT_STARTED.option, True, other[Outcome.NOT_STARTED.option]),
        ("Failed as before", "before", False, old),
        ("Disabled", Outcome.DISABLED.option, False, other[Outcome.DISABLED.option]),
    ]
    return [
        Section(title, group, urgent, causes_of(nodes)) for title, group, urgent, nodes in listed if nodes
    ]


def versions(results: Results) -> list[tuple[str, list[str]]]:
    """Return the versions of the code with their nodes, if the runs had more than one; most nodes first."""
    nodes: dict[str, list[str]] = defaultdict(list)
    for node in results.nodes.values():
        version = node.configuration_version
        if version and not TIME_OF_CATALOG.fullmatch(version):
            nodes[version].append(node.name)
    if len(nodes) < 2:
        return []
    return sorted(nodes.items(), key=lambda version: -len(version[1]))


def ending(results: Results) -> list[str]:
    """Return how the whole ended, if it did not simply end: stopped, cut, and what the exit status says."""
    summary = results.summary
    if summary is None:
        unknown = len(results.nodes) - results.finished
        cut = "; its last line is incomplete" if results.cut else ""
        return [
            f"This result has no end{cut}: the run was killed, or goes on. "
            f"{number_of(unknown, 'node has', 'nodes have')} no outcome."
        ]
    lines = []
    # The reason can come after the last node has been started; then the exit status says all.
    if summary.stopped and results.count(Outcome.NOT_STARTED):
        lines.append(f"Stopped early: {brief(summary.stopped)}.")
    if summary.exit in exits.LEFT:
        lines += _left(results, exits.LEFT[summary.exit])
    elif summary.exit > exits.NOTHING_STARTED:
        bits = [meaning for bit, meaning in EXITS.items() if summary.exit & bit]
        lines.append(f"Exit status {summary.exit}: {', '.join(bits)}.")
    return lines


def _left(results: Results, signal: str) -> list[str]:
    """Return which runs go on without being followed, and on which nodes one may have begun."""
    open_nodes = [node for node in results.nodes.values() if node.outcome is None]
    begun = [node.name for node in open_nodes if node.step == RUNNING]
    in_doubt = [node.name for node in open_nodes if node.step == QUEUED and node.error is None]
    go_on = number_of(len(begun), "run goes on and is", "runs go on and are")
    lines = [f"Left before the end because of {signal}: {go_on} not followed{_named(begun)}."]
    if in_doubt:
        lines.append(
            f"Asked for a run, without an answer: {number_of(len(in_doubt), 'node')}{_named(in_doubt)}."
        )
    return lines


def _named(names: list[str]) -> str:
    return f": {shorten(names, width=NAMES_WIDTH)}" if names else ""


def cancel_command(path: str) -> str:
    """Return the command that cancels the runs of a result file."""
    return f"{COMMAND} cancel --from {shlex.quote(path)}"


def next_commands(results: Results, path: Optional[str]) -> list[tuple[str, str]]:
    """Return commands to paste next, each with what it does; none if the result is in no file."""
    if path is None:
        return []
    file = shlex.quote(path)
    run = f"{COMMAND} run --from {file}"
    commands = []
    if results.finished < len(results.nodes) or results.count(*REMAINING):
        commands.append((run, "goes on: follows what was started, and starts the rest"))
    if open_runs(results).runs:
        commands.append((cancel_command(path), "stops the runs that go on"))
    failing = [
        outcome.option
        for outcome in Outcome
        if outcome in FAILURES | {Outcome.UNREACHABLE} and results.outcomes[outcome]
    ]
    if results.failed:
        group = "new" if results.compared and results.failed_new else "failed"
        commands.append((f"{COMMAND} show {file} {group}", "each node with its first error"))
    if failing:
        commands.append((f"{run} --only {','.join(failing)}", "runs these again"))
    if results.count(Outcome.PENDING):
        commands.append((f"{run} --only {Outcome.PENDING.option}", "applies the changes to exactly these"))
    return commands
