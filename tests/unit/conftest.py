"""What every unit test can rely on: tests may be `async def`, and nothing goes wrong unseen."""

from __future__ import annotations

import gc
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import hypothesis
import pytest

from tests.unit import house, loops
from tests.unit.desk import Desk
from tests.unit.fake_puppet import FakePuppet
from tests.unit.house import House
from twitch import config
from twitch.config import Config
from twitch.root import journal
from twitch.root.node import Node
from twitch.runs import Store

# Examples are counted, not timed: a test of ours has no opinion about the machine it runs on.
hypothesis.settings.register_profile("unit", deadline=None, print_blob=True)
hypothesis.settings.load_profile("unit")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """What is here already stays: the collection of garbage after each scene need not look at it."""
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
    """Skip a test that needs root; in CI nothing may be skipped unnoticed."""
    if os.geteuid() != 0:
        why = "needs root: it mounts directories of its own over /run and /etc, for itself only"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the code as it is installed."""
    return house.make_tree(tmp_path_factory.mktemp("tree") / "puppet-twitch")


@pytest.fixture
def node(root: None, tmp_path: Path, tree: Path) -> Iterator[House]:
    """Return a node with a Puppet that only writes down how it was run."""
    one = House(tmp_path, tree)
    yield one
    one.close()


@pytest.fixture
def puppet(tmp_path: Path) -> FakePuppet:
    """Return a Puppet that only writes down how it was run."""
    return FakePuppet(tmp_path / "puppet")


@pytest.fixture
def here(puppet: FakePuppet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Return a node as root sees it from within, in a directory of the test."""
    monkeypatch.setattr(config, "load", lambda: Config(puppet_path=os.fspath(puppet.path)))
    store = Store(os.fspath(tmp_path))
    os.mkdir(store.directory)
    return Node(store)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return what is written to the journal, which is not the one of this machine."""
    events: list[dict[str, Any]] = []

    def event(message_id: str, message: str, **fields: Any) -> None:
        events.append({"message_id": message_id, "message": message, **fields})

    monkeypatch.setattr(journal, "event", event)
    return events


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Return the API, with somebody who plays root."""
    one = Desk(tmp_path)
    yield one
    one.close()
