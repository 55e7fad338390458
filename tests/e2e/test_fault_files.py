"""Files that are full, gone, spoilt or in the way: each has its answer, and afterwards nothing is lost."""

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
def tidy(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    stub.stub_puppet(node12, access="anonymous = trigger status logs")  # so that answers have reasons
    # Puppet has told its settings, as on any node that has been up for a while.
    assert node12.curl("/puppet/status").body == "idle\n"
    yield node12
    stub.clear(node12)


def runs_again(node: Machine) -> None:
    """The next trigger is a run, from beginning to end; nothing else is under way or has failed."""
    before = len(stub.stub_log(node))
    run = stub.started_when_mended(node)
    stub.end_of(node, run)
    assert stub.stub_log(node)[before:] == [f"began {run}", f"ended {run}"]
    assert node.curl("/puppet/status").body == "idle\n"
    assert node.sh("systemctl --failed --no-legend").stdout == ""


@pytest.fixture
def small(tidy: Machine) -> Iterator[Machine]:
    """A node whose /run/puppet-twitch is a disk of its own: if /run were full, systemd would suffer too."""
    tidy.sh(
        f"cp -a {stub.RUNTIME} /tmp/kept && mount -t tmpfs -o size=1M,mode=755 tmpfs {stub.RUNTIME}"
        f" && cp -a /tmp/kept/. {stub.RUNTIME}/ && rm -rf /tmp/kept"
        " && systemctl restart puppet-twitch-run.socket"
    )
    yield tidy
    stop = "systemctl stop puppet-twitch-run.socket 'puppet-twitch-run@*.service'"
    tidy.wait(f"{stop}; umount {stub.RUNTIME}")


@contextmanager
def full(node: Machine) -> Iterator[None]:
    """Fill /run/puppet-twitch to the last page."""
    filler = f"{stub.RUNTIME}/filler"
    node.sh(f"dd if=/dev/zero of={filler} bs=4096 2>/dev/null; test -s {filler}")
    try:
        yield
    finally:
        node.run("rm", "-f", filler)


# -- no room, no right, no directory ------------------------------------------------------------


def test_a_full_disk_refuses_runs_and_says_why(small: Machine) -> None:
    with full(small):
        reply = stub.trigger(small)
        assert reply.status == 500
        assert reply.body.startswith("Puppet cannot be started: ")
        assert NO_SPACE in reply.body
        assert small.curl("/version").status == 200
        assert small.curl("/puppet/status").body == "idle\n"
    assert stub.stub_log(small) == []
    runs_again(small)


def test_a_disk_that_fills_up_during_a_run_has_room_for_its_verdict(small: Machine) -> None:
    run = stub.hold(small)
    with full(small):
        stub.let_go(small)
        small.wait(lambda: not stub.unit_of(small, run))
        assert stub.record(small, run)["state"] == "finished"
        assert small.curl("/puppet/status").body == "idle\n"
    with full(small):  # its record has left for the disk, so there was room again
        refused = stub.trigger(small)
        assert (refused.status, NO_SPACE in refused.body) == (500, True)
    assert stub.stub_log(small) == [f"began {run}", f"ended {run}"]
    runs_again(small)
    assert stub.record(small, run)["state"] == "finished"


def test_a_read_only_directory_refuses_runs_and_says_why(tidy: Machine) -> None:
    tidy.sh(f"mount --bind {stub.RUNTIME} {stub.RUNTIME} && mount -o remount,bind,ro {stub.RUNTIME}")
    reply = stub.trigger(tidy)
    assert (reply.status, READ_ONLY in reply.body) == (500, True)
    assert tidy.curl("/puppet/status").body == "idle\n"
    tidy.sh(f"umount {stub.RUNTIME}")
    assert stub.stub_log(tidy) == []
    runs_again(tidy)


def test_without_its_directory_the_port_says_what_to_do(tidy: Machine) -> None:
    tidy.run("rm", "-rf", stub.RUNTIME)
    reply = stub.trigger(tidy)
    assert reply.status == 503
    assert reply.headers["Retry-After"]
    assert tidy.curl("/puppet/runs").body == "No runs yet\n"
    # What it says helps.
    command = reply.body.strip().partition("; ")[2]
    assert command == "systemctl restart puppet-twitch-run.socket"
    tidy.sh(command)
    runs_again(tidy)


def test_without_the_records_a_run_makes_their_directory(tidy: Machine) -> None:
    first = stub.started(tidy)
    stub.end_of(tidy, first)
    tidy.run("rm", "-rf", f"{stub.RUNTIME}/runs")
    assert tidy.curl(f"/puppet/runs/{first}").status == 200  # from the history
    runs_again(tidy)
    assert tidy.sh(f"stat -c '%U:%G %a' {stub.RUNTIME}/runs").stdout == "root:twitch 750\n"


def test_records_that_vanish_during_a_run_do_not_stop_it(tidy: Machine) -> None:
    run = stub.hold(tidy)
    tidy.sh(f"find {stub.RUNTIME} -type f -delete")
    stub.let_go(tidy)
    tidy.wait(lambda: not stub.unit_of(tidy, run))
    assert stub.stub_log(tidy) == [f"began {run}", f"ended {run}"]
    runs_again(tidy)


# -- what stands in the way ---------------------------------------------------------------------

GARBAGE = {"nothing": "", "no JSON": "{", "no object": "[1]", "other keys": '{"run": 1}', "bytes": "\0\1\2"}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_a_spoilt_file_is_as_good_as_none(tidy: Machine, garbage: str) -> None:
    for name in ("current.json", "queued.json", "settings.json"):
        tidy.write(f"{stub.RUNTIME}/{name}", garbage)
    runs_again(tidy)


def test_a_spoilt_record_is_no_record(tidy: Machine) -> None:
    run = stub.started(tidy)
    stub.end_of(tidy, run)
    tidy.write(f"{stub.HISTORY}/runs/{run}.json", '{"state"')
    assert tidy.curl(f"/puppet/runs/{run}").status == 404
    tidy.write(f"{stub.HISTORY}/runs/{run}.json", "{}")
    assert tidy.curl(f"/puppet/runs/{run}").status == 404
    assert tidy.curl("/puppet/runs").status == 200
    runs_again(tidy)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        # Whoever cannot read the agent's lock leaves it to the agent; a `disabled` counts by being there.
        pytest.param(stub.STUB_LOCK, 202, id="the run lock"),
        pytest.param(stub.STUB_DISABLED, 423, id="the disabled lock"),
        pytest.param(f"{stub.RUNTIME}/lock", 500, id="our lock"),
        pytest.param(f"{stub.RUNTIME}/current.json", 500, id="current.json"),
        pytest.param(f"{stub.RUNTIME}/settings.json", 202, id="settings.json"),
    ],
)
def test_a_directory_where_a_file_should_be(tidy: Machine, path: str, status: int) -> None:
    tidy.sh(f"rm -f {path} && mkdir {path}")
    reply = stub.trigger(tidy)
    assert reply.status == status
    if status == 202:
        stub.end_of(tidy, str(reply.headers["Puppet-Run"]))
    else:
        assert stub.stub_log(tidy) == []
    tidy.run("rmdir", path)
    runs_again(tidy)


def test_a_lock_of_bytes_is_no_lock(tidy: Machine) -> None:
    tidy.sh(f"head -c 1000000 /dev/urandom >{stub.STUB_LOCK}")
    runs_again(tidy)
    tidy.sh(f"head -c 1000000 /dev/urandom >{stub.STUB_DISABLED}")
    assert stub.trigger(tidy).status == 423
    tidy.write(stub.STUB_DISABLED, json.dumps({"disabled_message": "x" * 1_000_000}))
    reply = stub.trigger(tidy)
    assert (reply.status, len(reply.body) < 2000) == (423, True)
