"""The collection puppet_twitch.node in real playbooks, against a real listener."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.unit.drivers.answering_node import AnsweringNode

REPOSITORY = Path(__file__).resolve().parents[3]
COLLECTION = REPOSITORY / "ansible-collection"
LIMIT_S = 240


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of collections with ours in it."""
    path = tmp_path_factory.mktemp("collections")
    (path / "ansible_collections/puppet_twitch").mkdir(parents=True)
    (path / "ansible_collections/puppet_twitch/node").symlink_to(COLLECTION)
    return path


def ansible(directory: Path, collections: Path, tool: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of Ansible, with nothing of this user's configuration."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": os.fspath(directory),
        "LANG": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": os.fspath(collections),
        "ANSIBLE_COLLECTIONS_PATHS": os.fspath(collections),
        "ANSIBLE_ROLES_PATH": os.fspath(COLLECTION / "tests/integration/targets"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    return subprocess.run(
        [tool, *words], cwd=directory, env=environment, capture_output=True, text=True, timeout=LIMIT_S
    )


def closed_port() -> int:
    """Return a port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
        return port


def test_playbook_goes_through_every_verdict(
    tmp_path: Path,
    collections: Path,
    answering: AnsweringNode,
    disabled: AnsweringNode,
    busy: AnsweringNode,
) -> None:
    variables = {
        "twitch_port": answering.port,
        "twitch_disabled_port": disabled.port,
        "twitch_busy_port": busy.port,
        "twitch_closed_port": closed_port(),
        "twitch_token": answering.tokens["deploy"],
        "twitch_small_token": answering.tokens["small"],
    }
    (tmp_path / "variables.json").write_text(json.dumps(variables))
    playbook = os.fspath(COLLECTION / "tests/integration/verdicts.yml")
    done = ansible(
        tmp_path, collections, "/usr/bin/ansible-playbook", "-vvv",
        "-i", "web1.example.com,", "-e", "@variables.json", playbook,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped=2" in done.stdout
    assert variables["twitch_token"] not in done.stdout + done.stderr
    labels = [run.label for run in answering.asked]
    assert labels.count("late") == 1
    assert "forbidden" not in labels
