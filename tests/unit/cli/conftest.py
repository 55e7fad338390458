"""Fixtures of the tests of commands."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.unit.cli.command import Commands
from tests.unit.fake_node import FakeNode


@pytest.fixture
def commands(node: FakeNode) -> Iterator[Commands]:
    """Return the commands of a node whose run socket is answered by real handlers."""
    running = Commands(node)
    yield running
    running.close()


@pytest.fixture(autouse=True)
def ignore_broken_pipes() -> Iterator[None]:
    """Ignore SIGPIPE again after a test, because a command restores its default (terminal.py)."""
    before = signal.getsignal(signal.SIGPIPE)
    yield
    signal.signal(signal.SIGPIPE, before)
