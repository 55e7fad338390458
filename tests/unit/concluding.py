"""Runs that have begun on a node, and their end."""

from __future__ import annotations

from typing import Any

from tests.unit import records
from tests.unit.processes import dead
from tests.unit.records import RUN
from twitch.records import RUNNING, Record
from twitch.root import conclude
from twitch.root.claims import Claim
from twitch.root.node import Node
from twitch.root.store import Store


def begun(root_node: Node, run: str = RUN, state: str = RUNNING, **fields: Any) -> Record:
    """Write the record of a run as the handler does, with what conclude needs to know of the node."""
    settings = root_node.settings._asdict()
    record = records.record(run, state, **{"command": "agent", "settings": settings, **fields})
    root_node.store.write(record)
    return record


def dead_claim(run: str = RUN, **fields: Any) -> Claim:
    """Return the claim of a run whose process has ended."""
    return Claim(run, dead(), 1)._replace(**fields)


def begin(root_node: Node, **fields: Any) -> Record:
    """Begin a run: its record, and its claim. Its process has ended."""
    record = begun(root_node, **fields)
    root_node.store.claims.write_current(dead_claim())
    return record


def end(root_node: Node, exit_status: str = "0", exit_code: str = "exited", **fields: Any) -> Record:
    """Begin a run and conclude it; return its record then."""
    conclude.conclude(root_node.store, begin(root_node, **fields), exit_code, exit_status)
    return read(root_node.store)


def read(store: Store, run: str = RUN) -> Record:
    """Return the record of a run, which has to be there."""
    record = store.read(run)
    assert record is not None, f"no record of {run}"
    return record
