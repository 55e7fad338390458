"""What Puppet is doing on many nodes, asked of each: the parts of `status` and `plan`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Optional, TextIO

from twitch import durations
from twitch.fleet.node.answers import Disabled, NodeStatus, NotReached
from twitch.fleet.node.api import NodeApi, Refusal
from twitch.fleet.nodes import Node
from twitch.fleet.show.blanking import without_name
from twitch.fleet.show.brief import brief
from twitch.fleet.show.folding import few, named
from twitch.texts import one_line

IDLE, RUNNING, DISABLED, STUCK, SILENT, REFUSED, UNREACHABLE = STATES = (
    "idle",
    "running",
    "disabled",
    "stuck",
    "silent",
    "refused",
    "unreachable",
)

AT_ONCE = 100  # nodes that are asked at the same time
SILENT_S = 7 * 86400  # without a run: the agent is not running, or its reports do not arrive
PROGRESS_S = 1.0
EXAMPLES = 8  # reasons and nodes that are shown of each state
INDENT = " " * 10


class NodeState(NamedTuple):
    """One node, and what it is doing."""

    node: Node
    state: str  # one of STATES
    why: Optional[str] = None  # one line
    status: Optional[NodeStatus] = None  # None: the node did not answer

    @property
    def duration_s(self) -> Optional[float]:
        """Return how long a run of the node takes, as far as it says so."""
        if self.status is None:
            return None
        return self.status.usual_s or (self.status.last.duration_s if self.status.last else None)


async def states_of(
    api: NodeApi, nodes: Sequence[Node], progress: Optional[TextIO] = None
) -> list[NodeState]:
    """Ask all nodes; return their states in the same order. `progress` is a terminal, or None."""
    asked = 0

    async def ask(node: Node) -> NodeState:
        nonlocal asked
        state = await state_of(api, node)
        asked += 1
        return state

    async def show() -> None:
        while progress is not None:
            await asyncio.sleep(PROGRESS_S)
            progress.write(f"\r{asked:,} of {len(nodes):,} nodes have been asked ")
            progress.flush()

    showing = asyncio.create_task(show())
    try:
        return list(await asyncio.gather(*map(ask, nodes)))
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        if progress is not None and asked:
            progress.write("\r\033[K")
            progress.flush()


def terminal() -> Optional[TextIO]:
    """Return where progress is shown: standard error, if it is a terminal."""
    return sys.stderr if sys.stderr.isatty() else None


async def state_of(api: NodeApi, node: Node) -> NodeState:
    """Ask a node what Puppet is doing."""
    try:
        status = await api.status(node)
    except Refusal as error:
        refused = error.answer.status in (401, 403)
        return NodeState(node, REFUSED if refused else UNREACHABLE, str(error))
    except NotReached as error:
        return NodeState(node, UNREACHABLE, str(error))
    return of_status(node, status, time.time())


def of_status(node: Node, status: NodeStatus, now: float) -> NodeState:
    """Return the state of a node that has answered."""
    if status.state == DISABLED:
        return NodeState(node, DISABLED, _disabled(status), status)
    if status.state == STUCK:
        age = durations.shown(status.age_s) if status.age_s is not None else "too long"
        return NodeState(node, STUCK, f"its run goes on for {age}{_doing(status)}", status)
    if status.state in (RUNNING, "queued"):
        return NodeState(node, RUNNING, _running(status), status)
    last = _last_run(node, status)
    if last is not None and now - last > SILENT_S:
        return NodeState(node, SILENT, f"its last run ended {durations.ago(now - last)}", status)
    return NodeState(node, IDLE, None, status)


def _last_run(node: Node, status: NodeStatus) -> Optional[float]:
    """Return when the last run ended, by the node and by PuppetDB: the later one."""
    reported = node.before.reported if node.before is not None else None
    ended = status.last.ended if status.last is not None else None
    return max((moment for moment in (reported, ended) if moment is not None), default=None)


def _disabled(status: NodeStatus) -> str:
    hold = status.disabled or Disabled()
    by = f" (by {hold.by})" if hold.by else ""
    until = f", until {_local(hold.until)}" if hold.until is not None else ""
    return one_line(f"{hold.reason or status.reason or 'no reason is shown'}{by}{until}")


def _running(status: NodeStatus) -> str:
    if status.elapsed_s is None:
        return status.phase or "a run is under way"
    usual = f", usually {durations.shown(status.usual_s)}" if status.usual_s is not None else ""
    return one_line(f"{status.phase or 'for'} {durations.shown(status.elapsed_s)}{usual}{_doing(status)}")


def _doing(status: NodeStatus) -> str:
    if not status.doing:
        return ""
    since = f" for {durations.shown(status.doing_s)}" if status.doing_s is not None else ""
    return one_line(f"; {status.doing}{since}")


def _local(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


# ---- as text


def count_line(number: int, what: str, names: Collection[str] = ()) -> str:
    """Return a number of nodes and what they are, with their names if these are few."""
    text = few(names) if names else ""
    return f"{number:>8,}  {f'{what:<11}  {text}' if text else what}"


def counted(states: Iterable[NodeState]) -> dict[str, int]:
    """Return how many nodes have each state, in the order of STATES; only those that occur."""
    counts = Counter(state.state for state in states)
    return {state: counts[state] for state in STATES if counts[state]}


def section(states: Iterable[NodeState], state: str, width: int) -> list[str]:
    """Return the nodes with a state: by reason, the most frequent first, and runs by their length."""
    of_state = [one for one in states if one.state == state]
    return _by_length(of_state) if state in (RUNNING, STUCK) else _by_reason(of_state, width)


def _by_length(states: Sequence[NodeState]) -> list[str]:
    in_order = sorted(states, key=_length_s, reverse=True)
    lines = [f"{INDENT}{one.node.name}  {brief(one.why or '')}".rstrip() for one in in_order[:EXAMPLES]]
    more = len(in_order) - EXAMPLES
    return [*lines, *([f"{INDENT}and {more:,} more, for less time"] if more > 0 else [])]


def _length_s(state: NodeState) -> float:
    status = state.status
    return (status.elapsed_s or status.age_s or 0) if status is not None else 0


def _by_reason(states: Sequence[NodeState], width: int) -> list[str]:
    names_of: dict[str, list[str]] = {}
    for one in states:
        names_of.setdefault(brief(without_name(one.why or "", one.node.name)), []).append(one.node.name)
    lines = []
    in_order = sorted(names_of.items(), key=lambda item: (-len(item[1]), item[0]))
    for reason, names in in_order[:EXAMPLES]:
        lines.append(f"{len(names):>8,}  {reason}")
        lines.append(INDENT + named(names, width=max(40, width - len(INDENT) - len(" and 10,000 more"))))
    left = [name for _, names in in_order[EXAMPLES:] for name in names]
    return [*lines, *([f"{INDENT}and {len(left):,} more nodes, for other reasons"] if left else [])]
