"""Fixtures of all unit tests, which may be `async def`; no failure in a loop goes unseen."""

from __future__ import annotations

import contextlib
import gc
import inspect
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import hypothesis
import pytest

from tests.unit import fake_node, loops
from tests.unit.api_under_test import ApiUnderTest
from tests.unit.fake_node import FakeNode
from tests.unit.fake_puppet import FakePuppet
from tests.unit.log_readers import Journald
from tests.unit.records import RUN
from twitch import config, record_files
from twitch.config import Config
from twitch.listener import log_source
from twitch.log import reader
from twitch.root import journal, journal_reader
from twitch.root.error_text import Entry
from twitch.root.node import Node
from twitch.root.store import Store

# Examples are counted, not timed: no test depends on the speed of the machine.
hypothesis.settings.register_profile("unit", deadline=None, print_blob=True)
hypothesis.settings.load_profile("unit")

NUMBERS = itertools.count()  # of the directories of tests


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Freeze the objects that exist, so that the collection of garbage after each loop skips them."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    """Run a test that is a coroutine function, in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    parameters = inspect.signature(pyfuncitem.obj).parameters
    loops.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in parameters}))
    return True


@pytest.fixture
def root() -> None:
    """Skip a test that needs root; in CI that is a failure, so that no test is skipped unnoticed."""
    if os.geteuid() != 0:
        reason = "needs root: it mounts directories of its own over /run and /etc, for itself only"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a directory of the test, which is deleted after it if it is empty.

    pytest's own reads the names of all earlier directories for each test, to find the next number: with 4,000
    tests, that is a tenth of their CPU time.
    """
    name = re.sub(r"\W", "_", request.node.name)[:25]
    path = tmp_path_factory.mktemp(f"{name}{next(NUMBERS)}", numbered=False)
    yield path
    with contextlib.suppress(OSError):
        path.rmdir()


@pytest.fixture(autouse=True)
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let no test write to the history of this machine."""
    monkeypatch.setattr(record_files, "HISTORY", os.fspath(tmp_path / "history"))
    return tmp_path / "history"


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the installed code."""
    return fake_node.make_tree(tmp_path_factory.mktemp("tree") / "puppet-twitch")


@pytest.fixture
def node(root: None, tmp_path: Path, tree: Path) -> Iterator[FakeNode]:
    """Return a node for real processes, with the fake Puppet."""
    fake = FakeNode(tmp_path, tree)
    yield fake
    fake.close()


@pytest.fixture
def puppet(tmp_path: Path) -> FakePuppet:
    """Return a fake Puppet, which only writes down how it was called."""
    return FakePuppet(tmp_path / "puppet")


@pytest.fixture
def root_node(puppet: FakePuppet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Return a node as root's code sees it, in the process of the test and a directory of the test."""
    monkeypatch.setattr(config, "load", lambda: Config(puppet_path=os.fspath(puppet.path)))
    store = Store(os.fspath(tmp_path))
    os.mkdir(store.directory)
    return Node(store)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the list of events that are written; none of them reaches the journal of this machine."""
    written: list[dict[str, Any]] = []

    def event(message_id: str, message: str, **fields: Any) -> None:
        written.append({"message_id": message_id, "message": message, **fields})

    monkeypatch.setattr(journal, "event", event)
    return written


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """Return the errors that the journal has of the run; a test adds to them."""
    entries: list[Entry] = []
    monkeypatch.setattr(journal_reader, "errors", lambda run, pid: entries if run == RUN else [])
    return entries


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiUnderTest]:
    """Return the API, with a stand-in for root."""
    under_test = ApiUnderTest(tmp_path)
    yield under_test
    under_test.close()


@pytest.fixture
def journald(api: ApiUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journald]:
    """Return the journal of the node of `api`, with log readers."""
    monkeypatch.setattr(reader, "SETTLE_S", 0.02)
    monkeypatch.setattr(reader, "VERDICT_S", 0.02)
    monkeypatch.setattr(log_source, "LOOK_S", 0.01)
    node = Journald(os.fspath(tmp_path / "log.sock"))
    api.logs(os.fspath(tmp_path / "log.sock"))
    api.allow("anonymous = trigger status logs")
    yield node
    node.close()
