"""What can become of a node that is asked for one thing: in words, in JSON, and in the exit status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Callable, NamedTuple, Optional

from twitch.fleet import exits
from twitch.fleet.node.answers import Answer
from twitch.fleet.show import folding
from twitch.fleet.show.blanking import blank, common
from twitch.fleet.show.brief import brief

WIDTH = 100  # of a line with names
FEW_MESSAGES = 10


class NodeOutcome(NamedTuple):
    """An outcome: what a command prints of the nodes that have it, and what they add to the exit status."""

    name: str  # as --json has it
    words: str  # as people read it
    status: int = exits.OK
    status_after_wait: int = exits.OK  # with --wait
    names: bool = True  # whether people get the names of the nodes
    messages: bool = True  # and the texts of their answers
    suffix: Optional[Callable[[Sequence[Answer]], str]] = None  # of the words, by the answers


# What every request can meet.
REFUSED = NodeOutcome("refused", "refused", exits.FAILURES)
FAILED = NodeOutcome("failed", "failed", exits.FAILURES)
UNREACHABLE = NodeOutcome("unreachable", "unreachable", exits.UNREACHABLE)
NOT_ASKED = NodeOutcome("not asked", "not asked", exits.STOPPED)
OF_ALL = (REFUSED, FAILED, UNREACHABLE, NOT_ASKED)


class Done(NamedTuple):
    """What became of one node."""

    outcome: NodeOutcome
    message: str  # one line
    answer: Optional[Answer] = None


def of_error(answer: Answer) -> NodeOutcome:
    """Return the outcome of an answer that has no meaning of its own for a command."""
    return REFUSED if 400 <= answer.status < 500 else FAILED


def exit_status(done: Iterable[Done], *, waited: bool) -> int:
    """Return the exit status for what became of the nodes."""
    status = exits.OK
    for outcome in {one.outcome for one in done}:
        status |= outcome.status | (outcome.status_after_wait if waited else exits.OK)
    return status


def summary(done: Mapping[str, Done], outcomes: Sequence[NodeOutcome]) -> list[str]:
    """Return the lines for people: how many nodes there are of each outcome, and which.

    `outcomes` are those of the command, in their order; those that every request can meet follow.
    """
    lines = []
    for outcome in (*outcomes, *OF_ALL):
        some = {name: one for name, one in done.items() if one.outcome == outcome}
        if not some:
            continue
        answers = [one.answer for one in some.values() if one.answer]
        lines.append(f"{len(some):>6} {outcome.words}{outcome.suffix(answers) if outcome.suffix else ''}")
        if outcome.names:
            lines += _names(some, messages=outcome.messages)
    return lines


def _names(done: Mapping[str, Done], *, messages: bool) -> list[str]:
    """Return the names of nodes, those with the same message on one line.

    Of more than FEW_MESSAGES that differ only in numbers, such as pids and times, there is one line.
    """
    by_form: dict[str, dict[str, list[str]]] = {}
    for name, one in done.items():
        message = brief(one.message) if messages else ""
        by_form.setdefault(blank(message), {}).setdefault(message, []).append(name)
    lines = []
    for by_message in by_form.values():
        if len(by_message) > FEW_MESSAGES:
            by_message = {common(by_message): [name for names in by_message.values() for name in names]}
        for message, names in by_message.items():
            lines.append(f"       {folding.named(names, width=WIDTH)}{f': {message}' if message else ''}")
    return lines
