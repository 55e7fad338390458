"""A full, read-only or missing run directory, corrupt files, and directories in place of files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

NO_SPACE = "No space left on device"
READ_ONLY = "Read-only file system"


@pytest.fixture
def node(stub_node12: Machine) -> Machine:
    """Return a node on which Puppet's settings are known, as on any node that has been up for a while."""
    assert stub_node12.curl("/puppet/status").body == "idle\n"
    return stub_node12


@pytest.fixture
def node_with_small_disk(node: Machine) -> Iterator[Machine]:
    """Return a node with a disk of its own for /run/puppet-twitch: systemd needs room in /run, too."""
    node.sh(
        f"cp -a {stub.RUNTIME} /tmp/kept && mount -t tmpfs -o size=1M,mode=755 tmpfs {stub.RUNTIME}"
        f" && cp -a /tmp/kept/. {stub.RUNTIME}/ && rm -rf /tmp/kept"
        " && systemctl restart puppet-twitch-run.socket"
    )
    yield node
    stop = "systemctl stop puppet-twitch-run.socket 'puppet-twitch-run@*.service'"
    node.wait(f"{stop}; umount {stub.RUNTIME}")


@contextmanager
def full(node: Machine) -> Iterator[None]:
    """Fill /run/puppet-twitch to the last page."""
    filler = f"{stub.RUNTIME}/filler"
    node.sh(f"dd if=/dev/zero of={filler} bs=4096 2>/dev/null; test -s {filler}")
    try:
        yield
    finally:
        node.run("rm", "-f", filler)


# -- the run directory --------------------------------------------------------------------------


def test_full_run_directory_refuses_runs(node_with_small_disk: Machine) -> None:
    with full(node_with_small_disk):
        reply = stub.trigger(node_with_small_disk)
        assert reply.status == 500
        assert reply.body.startswith("Puppet cannot be started: ")
        assert f"{NO_SPACE}: '{stub.RUNTIME}/" in reply.body
        assert node_with_small_disk.curl("/version").status == 200
        assert node_with_small_disk.curl("/puppet/status").body == "idle\n"
    assert stub.stub_log(node_with_small_disk) == []
    stub.runs_again(node_with_small_disk)


def test_run_directory_filled_during_a_run_has_room_for_its_verdict(node_with_small_disk: Machine) -> None:
    run = stub.hold(node_with_small_disk)
    with full(node_with_small_disk):
        stub.release(node_with_small_disk)
        node_with_small_disk.wait(lambda: not stub.unit_of(node_with_small_disk, run))
        assert stub.record(node_with_small_disk, run)["state"] == "finished"
        assert node_with_small_disk.curl("/puppet/status").body == "idle\n"
    with full(node_with_small_disk):  # the record has moved to the disk, so there was room again
        refused = stub.trigger(node_with_small_disk)
        assert (refused.status, NO_SPACE in refused.body) == (500, True)
    assert stub.stub_log(node_with_small_disk) == stub.in_order(run)
    stub.runs_again(node_with_small_disk)
    assert stub.record(node_with_small_disk, run)["state"] == "finished"


def test_read_only_run_directory_refuses_runs(node: Machine) -> None:
    node.sh(f"mount --bind {stub.RUNTIME} {stub.RUNTIME} && mount -o remount,bind,ro {stub.RUNTIME}")
    try:
        reply = stub.trigger(node)
        assert (reply.status, READ_ONLY in reply.body) == (500, True)
        assert node.curl("/puppet/status").body == "idle\n"
    finally:
        node.wait(f"umount {stub.RUNTIME}")  # which the process of the last question may still keep busy
    assert stub.stub_log(node) == []
    stub.runs_again(node)


def test_missing_run_directory_gets_503_with_the_fix(node: Machine) -> None:
    node.run("rm", "-rf", stub.RUNTIME)
    reply = stub.trigger(node)
    assert reply.status == 503
    assert reply.headers["Retry-After"]
    assert node.curl("/puppet/runs").body == "No runs on record yet\n"
    command = reply.body.strip().partition("; ")[2]
    assert command == "systemctl restart puppet-twitch-run.socket"
    node.sh(command)
    stub.runs_again(node)


def test_missing_records_directory_is_made_by_the_next_run(node: Machine) -> None:
    first = stub.started(node)
    stub.end_of(node, first)
    node.run("rm", "-rf", f"{stub.RUNTIME}/runs")
    assert node.curl(f"/puppet/runs/{first}").status == 200  # from the history
    stub.runs_again(node)
    assert node.sh(f"stat -c '%U:%G %a' {stub.RUNTIME}/runs").stdout == "root:twitch 750\n"


def test_records_deleted_during_a_run_do_not_stop_it(node: Machine) -> None:
    run = stub.hold(node)
    node.sh(f"find {stub.RUNTIME} -type f -delete")
    stub.release(node)
    node.wait(lambda: not stub.unit_of(node, run))
    assert stub.stub_log(node) == stub.in_order(run)
    stub.runs_again(node)


# -- corrupt files, and directories in their place ----------------------------------------------

GARBAGE = {"nothing": "", "no JSON": "{", "no object": "[1]", "other keys": '{"run": 1}', "bytes": "\0\1\2"}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_corrupt_state_file_is_ignored(node: Machine, garbage: str) -> None:
    for name in ("current.json", "queued.json", "settings.json"):
        node.write(f"{stub.RUNTIME}/{name}", garbage)
    stub.runs_again(node)


def test_corrupt_record_gets_404(node: Machine) -> None:
    run = stub.started(node)
    stub.end_of(node, run)
    node.write(f"{stub.HISTORY}/runs/{run}.json", '{"state"')
    assert node.curl(f"/puppet/runs/{run}").status == 404
    node.write(f"{stub.HISTORY}/runs/{run}.json", "{}")
    assert node.curl(f"/puppet/runs/{run}").status == 404
    assert node.curl("/puppet/runs").status == 200
    stub.runs_again(node)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        # A run lock that cannot be read is left to the agent; a disabled lock counts whatever it holds.
        pytest.param(stub.STUB_LOCK, 202, id="the run lock"),
        pytest.param(stub.STUB_DISABLED, 423, id="the disabled lock"),
        pytest.param(f"{stub.RUNTIME}/lock", 500, id="our lock"),
        pytest.param(f"{stub.RUNTIME}/current.json", 500, id="current.json"),
        pytest.param(f"{stub.RUNTIME}/settings.json", 202, id="settings.json"),
    ],
)
def test_directory_in_place_of_a_file(node: Machine, path: str, status: int) -> None:
    node.sh(f"rm -f {path} && mkdir {path}")
    reply = stub.trigger(node)
    assert reply.status == status
    if status == 202:
        stub.end_of(node, str(reply.headers["Puppet-Run"]))
    else:
        assert stub.stub_log(node) == []
    node.run("rmdir", path)
    stub.runs_again(node)


def test_agent_lock_of_random_bytes(node: Machine) -> None:
    node.sh(f"head -c 1000000 /dev/urandom >{stub.STUB_LOCK}")
    stub.runs_again(node)
    node.sh(f"head -c 1000000 /dev/urandom >{stub.STUB_DISABLED}")
    assert stub.trigger(node).status == 423
    node.write(stub.STUB_DISABLED, json.dumps({"disabled_message": "x" * 1_000_000}))
    reply = stub.trigger(node)
    assert (reply.status, len(reply.body) < 2000) == (423, True)
