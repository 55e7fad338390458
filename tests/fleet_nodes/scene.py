"""What each simulated node is: its address, its fault, the length and the verdict of its runs."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Optional

DOMAIN = "fleet.test"


class Fault(str, Enum):
    """What is wrong with a node."""

    REFUSE = "refuse"  # nothing listens
    HANG = "hang"  # connections are taken, and nothing is ever answered: not even to a TLS handshake
    GARBAGE = "garbage"  # something else than HTTP answers
    IMPOSTOR = "impostor"  # the certificate is of a CA that nobody trusts
    DIE = "die"  # goes away in the middle of its run, for ever
    DENY = "deny"  # no caller may trigger runs: 401 or 403
    DISABLED = "disabled"  # 423
    BUSY = "busy"  # at the first request Puppet's own daemon runs for as long as a run takes: 409, or queued
    FULL = "full"  # as BUSY, and a different request has the place in the queue: 409 with queue=true as well
    LEFT = "left"  # a run that is cancelled leaves a process running
    DEAF = "deaf"  # a run that is told to stop goes on
    # These occur once, and then the node is as it should be.
    COOLDOWN = "cooldown"  # 429 with Retry-After: 1
    UNAVAILABLE = "unavailable"  # 503 with Retry-After
    CUT = "cut"  # the connection is reset, and the request was not taken
    RESET = "reset"  # the request was taken, the run has begun, and the connection is reset before the answer
    LEAVE = "leave"  # a caller that waits for the run is told 202 early, as by a listener that is upgraded
    BLIP = "blip"  # the connection of a caller that waits for the run is reset


class NodeSpec(NamedTuple):
    """One node."""

    name: str
    address: str
    run_s: float
    verdict: str = "changed"
    fault: Optional[Fault] = None


class Scene(NamedTuple):
    """What one process has to simulate."""

    port: int
    directory: str  # of configuration, tokens and certificates
    tls: bool
    longest_s: int
    nodes: tuple[NodeSpec, ...] = ()

    def write(self, path: Path) -> None:
        """Write the scene for another process."""
        path.write_text(json.dumps(self._asdict()))

    @classmethod
    def read(cls, path: Path) -> Scene:
        """Return the scene that another process has written."""
        fields = json.loads(path.read_text())
        nodes = tuple(
            NodeSpec(name, address, run_s, verdict, Fault(fault) if fault else None)
            for name, address, run_s, verdict, fault in fields.pop("nodes")
        )
        return cls(**fields, nodes=nodes)


def draw(
    count: int,
    *,
    run_s: tuple[float, float],
    faults: Mapping[str, float],
    verdicts: Mapping[str, float],
    network: int,
    seed: int,
) -> tuple[NodeSpec, ...]:
    """Return so many nodes at 127.NETWORK.x.y, with faults and verdicts by share; equal seeds, equal nodes.

    Shares are exact: of 400 nodes, 5 % are 20. Verdicts are dealt to the nodes without a fault first, so that
    each node has one property that a test counts.
    """
    chance = random.Random(seed)
    order = list(range(count))
    chance.shuffle(order)
    fault_of: dict[int, Fault] = {}
    verdict_of: dict[int, str] = {}
    for fault, share in faults.items():
        fault_of.update({order.pop(): Fault(fault) for _ in range(_number(share, count))})
    for verdict, share in verdicts.items():
        verdict_of.update({order.pop(): verdict for _ in range(_number(share, count))})
    return tuple(
        NodeSpec(
            name=f"node{number + 1:05}.{DOMAIN}",
            address=f"127.{network + (number >> 16)}.{number >> 8 & 255}.{number & 255}",
            run_s=chance.uniform(*run_s),
            verdict=verdict_of.get(number, "changed"),
            fault=fault_of.get(number),
        )
        for number in range(count)
    )


def _number(share: float, count: int) -> int:
    """Return how many nodes a share is: at least one, unless it is 0."""
    return max(1, round(share * count)) if share else 0
