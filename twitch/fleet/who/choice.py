"""Which nodes a command is about: names, a file, a query of PuppetDB, or a result of before.

Names need no PuppetDB. With one, each node also has how its last run ended, so that a failure can be told
from one that was there before.
"""

from __future__ import annotations

import hashlib
import os
import re
from argparse import Namespace
from collections.abc import Sequence
from typing import NamedTuple, Optional

from twitch.errors import UsageError
from twitch.fleet.nodes import Before, Node
from twitch.fleet.options import REMAINING, Share
from twitch.fleet.outcomes import Outcome
from twitch.fleet.puppetdb import inventory
from twitch.fleet.puppetdb.client import PuppetDB, PuppetDBError
from twitch.fleet.show.result_file import ResultFile
from twitch.fleet.who import affected, names
from twitch.texts import one_line

KINDS = {outcome.option: outcome for outcome in Outcome}

WHO_CHARACTERS = 200  # of the words that say who; thousands of names are "480 nodes"
EXAMPLES = 5  # names in a note

# An IP address or a name. What is valid in both is decided by the connection.
ADDRESS = re.compile(r"[A-Za-z0-9.:_-]{1,255}")

WITHOUT_A_PUPPETDB = (
    "and no PuppetDB is known. Name it with --puppetdb URL, or in ~/.puppetlabs/client-tools/puppetdb.conf"
)


class Who(NamedTuple):
    """The options that choose nodes. Several of the first five name the nodes of all together."""

    nodes: tuple[str, ...] = ()
    file: Optional[str] = None  # --nodes
    query: Optional[str] = None
    result: Optional[ResultFile] = None  # --from
    affected_by: tuple[str, ...] = ()  # paths below the environment; `-` for standard input
    only: tuple[str, ...] = ()  # of --from: options of outcomes, and `remaining`
    or_all: bool = False  # of --affected-by
    environment: Optional[str] = None  # of --affected-by
    exclude: tuple[str, ...] = ()
    exclude_files: tuple[str, ...] = ()  # --exclude-nodes
    limit: Optional[Share] = None
    address_fact: Optional[str] = None
    group_fact: Optional[str] = None  # --one-per, without its number

    @property
    def standard_inputs(self) -> int:
        """Return how many options read standard input, of which the first would get all."""
        files = (self.file, self.result.path if self.result else None, *self.affected_by, *self.exclude_files)
        return files.count(names.STANDARD_INPUT)


class Chosen(NamedTuple):
    """The nodes that a command is about."""

    nodes: list[Node]
    left_out: list[tuple[str, str]]  # name, why
    who: str  # as the operator wrote it, in one line
    notes: tuple[str, ...] = ()  # what the operator should know before anything starts


def of_options(options: Namespace) -> Who:
    """Return the choice that a command line has made. Not every command has --environment and --one-per."""
    one_per: Optional[str] = getattr(options, "one_per", None)
    return Who(
        nodes=tuple(options.node),
        file=options.nodes,
        query=options.query,
        result=options.result,
        affected_by=tuple(options.affected_by or ()),
        only=tuple(options.only or ()),
        or_all=options.or_all,
        environment=getattr(options, "environment", None),
        exclude=tuple(options.exclude),
        exclude_files=tuple(options.exclude_nodes),
        limit=options.limit,
        address_fact=options.address_fact,
        group_fact=one_per.partition("=")[0] if one_per else None,
    )


def reads_standard_input(options: Namespace) -> bool:
    """Return whether a command line has standard input as one of its files of nodes, or as paths."""
    return of_options(options).standard_inputs > 0


async def choose(who: Who, database: Optional[PuppetDB]) -> Chosen:
    """Return the nodes of a choice, each once. Raise UsageError if there are none, PuppetDBError."""
    if who.standard_inputs > 1:
        options = "--nodes, --from, --affected-by or --exclude-nodes"
        raise UsageError(f"Standard input (-) can be read only once: by {options}")
    notes: list[str] = []
    named, said = await _named(who, database, notes)
    found = list(dict.fromkeys(named))
    if len(found) < len(named):
        notes.append(f"Named more than once, and counted once: {len(named) - len(found)} of the nodes")
    # A result of somebody else, or a PuppetDB, can have any text where a name belongs.
    no_names = [name for name in found if not names.NAME.fullmatch(name)]
    _note(notes, "Left out, because they are no certnames,", [repr(one_line(name)) for name in no_names])
    left_out = [(one_line(name), "no certname") for name in no_names]
    excluded = _excluded(who, frozenset(found), notes)
    left_out += [(name, "excluded") for name in found if name in excluded]
    rest = [name for name in found if name not in excluded and names.NAME.fullmatch(name)]
    if who.limit is not None:
        sample = _sample(rest, who.limit.at_least_one_of(len(rest)))
        left_out += [(name, "beyond --limit") for name in rest if name not in sample]
        rest = [name for name in rest if name in sample]
    if not rest:
        reason = f"all {len(found)} are left out" if found else "none is found"
        raise UsageError("; ".join([f"No nodes: {reason} ({said})", *notes]))
    return Chosen(await _known(who, rest, database, notes), left_out, said, tuple(notes))


async def _named(who: Who, database: Optional[PuppetDB], notes: list[str]) -> tuple[list[str], str]:
    """Return the names that the options have, in their order, and what these options said."""
    found, said = list(names.expanded(who.nodes)), []
    if who.nodes:
        words = one_line(" ".join(who.nodes))
        said.append(words if len(words) <= WHO_CHARACTERS else f"{len(found)} names")
    if who.file is not None:
        found += names.from_file(who.file)
        said.append("standard input" if who.file == names.STANDARD_INPUT else one_line(who.file))
    if who.result is not None:
        of_result, words = _of_result(who.result, who.only)
        found += of_result
        said.append(words)
    elif who.only:
        raise UsageError("--only chooses from a result; name the file with --from")
    if who.query is not None:
        found += await inventory.names(_needed(database, "--query"), who.query)
        said.append(one_line(who.query))
    if who.affected_by:
        of_code = await affected.nodes(
            _needed(database, "--affected-by"), who.affected_by, who.environment, or_all=who.or_all
        )
        found += of_code.names
        notes += of_code.notes
        said.append(of_code.said)
    if not said:
        raise UsageError("No nodes are named: NODE…, --nodes, --query, --from or --affected-by")
    return found, ", ".join(said)


def _needed(database: Optional[PuppetDB], option: str) -> PuppetDB:
    if database is None:
        raise UsageError(f"{option} needs PuppetDB, {WITHOUT_A_PUPPETDB}")
    return database


def _of_result(file: ResultFile, only: Sequence[str]) -> tuple[list[str], str]:
    """Return the nodes of a result file, all or those with one of the outcomes."""
    results = file.results
    said = "standard input" if file.path == names.STANDARD_INPUT else one_line(file.path)
    if not only:
        return list(results.nodes), said
    outcomes = {KINDS[kind] for kind in only if kind in KINDS}
    remaining = frozenset(results.remaining()) if REMAINING in only else frozenset()
    chosen = [name for name, node in results.nodes.items() if node.outcome in outcomes or name in remaining]
    return chosen, f"{', '.join(only)} of {said}"


def _excluded(who: Who, found: frozenset[str], notes: list[str]) -> set[str]:
    """Return the names of --exclude, which may have ranges, and those in the files of --exclude-nodes."""
    excluded = {name for path in who.exclude_files for name in names.from_file(path)}
    for option in who.exclude:
        is_file = os.path.isfile(option)
        hint = f"; for the nodes in the file of this name: --exclude-nodes {one_line(option)}"
        try:
            expanded = names.expanded([option])
        except UsageError as error:
            raise UsageError(f"--exclude: {error}{hint if is_file else ''}") from None
        if found.isdisjoint(expanded):
            text = f"--exclude {one_line(option)}: none of the nodes has this name"
            # Nodes that should be excluded must not be run because a file was taken for a name.
            if is_file:
                raise UsageError(text + hint)
            notes.append(text)
        excluded.update(expanded)
    return excluded


def _sample(found: Sequence[str], number: int) -> frozenset[str]:
    """Return a number of the names, which is the same for `plan` and `run`, and not of one rack.

    A larger --limit has the nodes of a smaller one, so 10 nodes can become 100.
    """
    in_order = sorted(found, key=lambda name: hashlib.sha256(name.encode()).digest())
    return frozenset(in_order[:number])


async def _known(who: Who, found: list[str], database: Optional[PuppetDB], notes: list[str]) -> list[Node]:
    """Return the nodes with what PuppetDB knows of them."""
    facts = [fact for fact in (who.address_fact, who.group_fact) if fact is not None]
    if facts:
        database = _needed(database, f"The fact {facts[0]}")
    if database is None:
        return [Node(name) for name in found]
    try:
        before = await inventory.before(database, found)
    except PuppetDBError as error:
        if facts:
            raise
        # Nodes can be run while PuppetDB is down, perhaps to repair it.
        notes.append(f"It is not known which nodes failed before. {error}")
        return [Node(name) for name in found]
    _note(notes, "PuppetDB does not know, or has deactivated", [n for n in found if n not in before])
    values = await inventory.facts(database, found, facts) if facts else {}
    chosen = [_node(name, before.get(name), values.get(name, {}), who) for name in found]
    if who.address_fact is not None:
        without = [node.name for node in chosen if node.address is None]
        _note(notes, f"The fact {who.address_fact} is missing, so DNS has the address, of", without)
    if who.group_fact is not None:
        without = [node.name for node in chosen if node.group is None]
        _note(notes, f"The fact {who.group_fact} is missing, so --one-per does not hold back", without)
    return chosen


def _node(name: str, before: Optional[Before], facts: dict[str, object], who: Who) -> Node:
    address = facts.get(who.address_fact) if who.address_fact is not None else None
    group = facts.get(who.group_fact) if who.group_fact is not None else None
    if address is not None and not (isinstance(address, str) and ADDRESS.fullmatch(address)):
        raise UsageError(f"--address-fact {who.address_fact}: of {name} it is not an address")
    if isinstance(group, (dict, list)):
        raise UsageError(f"--one-per {who.group_fact}: of {name} it is not a single value")
    return Node(name, address, before, None if group is None else str(group))


def _note(notes: list[str], what: str, some: Sequence[str]) -> None:
    """Add a note about some nodes, the first of them by name; none if there are none."""
    if some:
        more = f", and {len(some) - EXAMPLES} more" if len(some) > EXAMPLES else ""
        notes.append(f"{what} {len(some)} of the nodes: {', '.join(some[:EXAMPLES])}{more}")
