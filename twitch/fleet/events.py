"""The lines of a result file (--json): a plan, an event for each step of a node, a summary.

Each line is a JSON object with `line` (plan, node or summary) and `time`. Fields that are None are left
out. puppet-twitch-fleet(1) has the schema; a field is added without a new VERSION, and changes with one.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from twitch.fleet.outcomes import Outcome

VERSION = 1


class Ask(NamedTuple):
    """What every node is asked for."""

    noop: bool = False
    tags: tuple[str, ...] = ()
    environment: Optional[str] = None
    queue: bool = True
    label: Optional[str] = None


class Plan(NamedTuple):
    """The first line: what was asked, of how many nodes, and how."""

    time: float  # epoch seconds
    nodes: tuple[str, ...]
    ask: Ask
    who: str  # the query, file or list that named the nodes, as the operator wrote it
    at_once: int
    canary: int
    max_failures: int
    max_unreachable: Optional[int]  # None: any number
    seed: int  # of the random order
    puppetdb: Optional[str] = None
    puppetservers: tuple[str, ...] = ()
    failed_before: tuple[str, ...] = ()  # nodes whose last run before this one failed
    version: int = VERSION
    one_per: Optional[str] = None  # these four are options, for a run that continues this one
    address_fact: Optional[str] = None
    count_old_failures: bool = False
    stop_on_surprise: bool = False


class Counts(NamedTuple):
    """Numbers of resources in a run."""

    total: Optional[int] = None
    changed: Optional[int] = None
    failed: Optional[int] = None
    skipped: Optional[int] = None
    would_change: Optional[int] = None


class Change(NamedTuple):
    """What happened to one resource in one run. Values are in no event, because they can be secrets."""

    resource: str  # File[/etc/motd]
    outcome: str  # changed, would change, failed, skipped: the words of the node's record
    properties: tuple[str, ...] = ()
    file: Optional[str] = None
    line: Optional[int] = None
    message: Optional[str] = None  # of the first failed event; only if the caller may see it


# The steps of a node, in their order. A node can be asked several times before it is `running`.
QUEUED, RUNNING, ENDED, PROVEN = STEPS = ("queued", "running", "ended", "proven")


class NodeEvent(NamedTuple):
    """One step of one node. The last line of a node that has an outcome is the one that counts."""

    time: float  # epoch seconds
    node: str
    event: str  # one of STEPS
    run: Optional[str] = None  # the id of the run, which is also Puppet's job_id
    outcome: Optional[Outcome] = None  # with ended and proven
    new: Optional[bool] = None  # with a failure: the run before this one had not failed
    verdict: Optional[str] = None  # in the words of the node
    counts: Optional[Counts] = None
    duration_s: Optional[float] = None  # of the run on the node
    error: Optional[str] = None  # one line: why the outcome is not a good one, or why the node waits
    report: Optional[str] = None  # the hash of the report in PuppetDB
    configuration_version: Optional[str] = None
    changes: tuple[Change, ...] = ()  # of a run that is not unchanged
    canary: bool = False


class Summary(NamedTuple):
    """The last line."""

    time: float  # epoch seconds
    outcomes: dict[Outcome, int]  # only those that occurred
    failed_new: int
    failed_before: int
    fixed: int  # failed before, and good now
    exit: int
    stopped: Optional[str] = None  # why not every node was asked
