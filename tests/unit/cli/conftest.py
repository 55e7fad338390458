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
def signals() -> Iterator[None]:
    """Give a command the signals that a terminal gives it, whatever has started pytest.

    SIGINT is ignored in what a script has started in the background, and commands would inherit that. A
    command that runs in this process restores the default of SIGPIPE (terminal.py), which would end pytest.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGPIPE)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
