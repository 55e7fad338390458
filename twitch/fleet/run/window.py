"""Which node is next, and how many runs there are at once.

A slot is one run: it is taken when the node is asked, and free when the run has its verdict. A request that
has timed out frees no slot (saltstack/salt#8597: the next node was started while the first still ran).

    begun ──────────┐
                    ▼
    ready ──turn──▶ slot ──free──▶ gone
      ▲  ▲            │
      │  └── parked   └─to_the_back──▶ delayed
      │      (the group has its number of runs)  │
      └──────────────────────────────────────────┘

A node whose Puppet is busy goes to the back and holds no slot (choria's `runall` stood still behind one such
node). Slots are a sliding window, not batches. Every operation takes the same time for any number of nodes.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from collections.abc import Set as AbstractSet
from typing import Callable, Optional

from twitch.fleet.nodes import Node

# Returns how many runs the puppetservers can take now.
Limit = Callable[[], int]


class Window:
    """The nodes of one stage, in the order in which they get slots."""

    def __init__(
        self,
        nodes: Iterable[Node],
        *,
        at_once: int,
        begun: AbstractSet[str] = frozenset(),
        per_group: Optional[int] = None,
        limit: Optional[Limit] = None,
    ) -> None:
        """Take at most `at_once` runs, of one group at most `per_group`, and never more than `limit()`.

        Nodes that are `begun` have runs of an earlier invocation: they get slots at once, beyond the limits.
        """
        order = list(nodes)
        self._at_once = at_once
        self._per_group = per_group
        self._limit: Limit = limit or (lambda: at_once)
        self._begun = deque(node for node in order if node.name in begun)
        self._ready = deque(node for node in order if node.name not in begun)
        self._parked: dict[str, deque[Node]] = {}
        self._delayed: dict[str, tuple[Node, asyncio.TimerHandle]] = {}
        self._slots: dict[str, Node] = {}
        self._slots_of_group: Counter[str] = Counter()
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def running(self) -> int:
        """Return the number of slots that are taken."""
        return len(self._slots)

    async def turns(self) -> AsyncIterator[Node]:
        """Yield each node when it gets a slot; end when no slot is taken and no node will get one."""
        while True:
            self._changed.clear()
            node = self._next()
            if node is not None:
                yield node
            elif not self._slots and (self._closed or not self._anyone_waits()):
                return
            else:
                await self._changed.wait()

    def free(self, node: Node) -> None:
        """Free the slot of a node whose run has ended, or was not started. A second call does nothing."""
        if self._slots.pop(node.name, None) is None:
            return
        if node.group is not None:
            self._slots_of_group[node.group] -= 1
            parked = self._parked.get(node.group)
            if parked:
                self._ready.appendleft(parked.popleft())
        self._changed.set()

    def to_the_back(self, node: Node, delay_s: float) -> None:
        """Free the slot of a node that cannot start a run now; it is ready again after `delay_s`."""
        loop = asyncio.get_running_loop()
        self._delayed[node.name] = node, loop.call_later(delay_s, self._is_ready_again, node)
        self.free(node)

    def look_again(self) -> None:
        """Look again at how many runs the puppetservers can take."""
        self._changed.set()

    def close(self) -> None:
        """Give no node a slot any more. The runs that have a slot keep it to their end."""
        self._closed = True
        self._changed.set()

    def left(self) -> list[Node]:
        """Return the nodes that wait, and give up their places: each is returned once."""
        for _, timer in self._delayed.values():
            timer.cancel()
        nodes = [*self._ready, *(node for parked in self._parked.values() for node in parked)]
        nodes += [node for node, _ in self._delayed.values()]
        self._ready.clear()
        self._parked.clear()
        self._delayed.clear()
        return nodes

    def _next(self) -> Optional[Node]:
        """Return the node that gets a slot now, if there is one."""
        if self._begun:
            return self._with_slot(self._begun.popleft())
        if self._closed or len(self._slots) >= max(1, min(self._at_once, self._limit())):
            return None
        while self._ready:
            node = self._ready.popleft()
            if not self._group_is_full(node):
                return self._with_slot(node)
            self._parked.setdefault(node.group or "", deque()).append(node)
        return None

    def _group_is_full(self, node: Node) -> bool:
        if node.group is None or self._per_group is None:
            return False
        return self._slots_of_group[node.group] >= self._per_group

    def _with_slot(self, node: Node) -> Node:
        self._slots[node.name] = node
        if node.group is not None:
            self._slots_of_group[node.group] += 1
        return node

    def _anyone_waits(self) -> bool:
        # A parked node waits for a slot of its group, so there is none without slots.
        return bool(self._ready or self._delayed)

    def _is_ready_again(self, node: Node) -> None:
        del self._delayed[node.name]
        self._ready.append(node)
        self._changed.set()
