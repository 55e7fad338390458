"""A node that answers, in plain HTTP and over TLS, once for all tests of a module."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.drivers.answering_node import AnsweringNode
from tests.unit.fake_node import PYTHON, REPOSITORY, FakeNode
from tests.unit.listening import port
from tests.unit.pki import PKI
from twitch.node_status import DISABLED
from twitch.records import BUSY

Factory = pytest.TempPathFactory


@pytest.fixture(scope="module")
def module_root() -> None:
    """Skip a test that needs root; in CI that is a failure."""
    if os.geteuid() != 0:
        reason = "needs root: it mounts directories of its own over /run and /etc, for itself only"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    """Return a public key infrastructure like Puppet's."""
    return PKI(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def answering(module_root: None, tree: Path, tmp_path_factory: Factory) -> Iterator[AnsweringNode]:
    """Return a node without TLS."""
    yield from _answering(tmp_path_factory.mktemp("plain"), tree)


@pytest.fixture(scope="module")
def disabled(module_root: None, tree: Path, tmp_path_factory: Factory) -> Iterator[AnsweringNode]:
    """Return a node on which Puppet is disabled."""
    yield from _answering(tmp_path_factory.mktemp("disabled"), tree, refusal=DISABLED)


@pytest.fixture(scope="module")
def busy(module_root: None, tree: Path, tmp_path_factory: Factory) -> Iterator[AnsweringNode]:
    """Return a node on which Puppet is running, and the queue is full."""
    yield from _answering(tmp_path_factory.mktemp("busy"), tree, refusal=BUSY)


@pytest.fixture(scope="module")
def answering_tls(
    module_root: None, tree: Path, pki: PKI, tmp_path_factory: Factory
) -> Iterator[AnsweringNode]:
    """Return a node with TLS, whose name is localhost."""
    yield from _answering(tmp_path_factory.mktemp("tls"), tree, pki=pki)


@pytest.fixture(scope="module")
def ca(pki: PKI) -> str:
    """Return the path of the certificates of both CAs."""
    path = pki.directory / "bundle.pem"
    path.write_text(pki.bundle())
    return os.fspath(path)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: Factory) -> str:
    """Return the path of the command puppet-twitch-fleet."""
    path = tmp_path_factory.mktemp("command") / "puppet-twitch-fleet"
    start = f"import sys; sys.path.insert(0, {os.fspath(REPOSITORY)!r})"
    code = f"{start}; from twitch.fleet.main import main; sys.exit(main())"
    path.write_text(f'#!/bin/sh\nexec {PYTHON} -c {shlex.quote(code)} "$@"\n')
    path.chmod(0o755)
    return os.fspath(path)


def _answering(directory: Path, tree: Path, **options: Any) -> Iterator[AnsweringNode]:
    fake = FakeNode(directory, Path("/etc/tree"))
    # Below the /etc of the node, because the listener's user may not enter the directories of pytest.
    shutil.copytree(tree, fake.etc / "tree")
    with port() as listening:
        node = AnsweringNode(fake, listening, **options)
        yield node
        node.close()
    fake.close()
