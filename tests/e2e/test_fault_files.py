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
    stub.stub_puppet(node12)
    # Puppet has told its settings, as on any node that has been up for a while.
    assert node12.curl("/puppet/status").body == "idle\n"
    yield node12
    stub.clear(node12)


def runs_again(node: Machine) -> None:
    """The next trigger is a run, from its beginning to its end, and nothing else is under way or has failed."""
    before = len(stub.stub_log(node))
    run = stub.started(node)
    stub.end_of(node, run)
    assert stub.stub_log(node)[before:] == [f"began {run}", f"ended {run}"]
    assert node.curl("/puppet/status").body == "idle\n"
    assert node.sh("systemctl --failed --no-legend").stdout == ""


@contextmanager
def full(node: Machine) -> Iterator[None]:
    """Fill what /run/puppet-twitch is on, to the last byte and the last page."""
    filler = f"{stub.RUNTIME}/filler"
    # A file system of its own, moved below the files that are there: a full /run would tell of systemd.
    node.sh(
        f"mkdir -p /tmp/kept && cp -a {stub.RUNTIME}/. /tmp/kept/ && mount -t tmpfs -o size=2M,mode=755 tmpfs"
        f" {stub.RUNTIME} && cp -a /tmp/kept/. {stub.RUNTIME}/ && rm -rf /tmp/kept"
        " && systemctl restart puppet-twitch-run.socket"
        f" && {{ dd if=/dev/zero of={filler} bs=4096 2>/dev/null; test -e {filler}; }}"
    )
    try:
        yield
    finally:
        node.run("rm", "-f", filler)


@pytest.fixture
def own_mount(tidy: Machine) -> Iterator[Machine]:
    yield tidy
    tidy.sh(
        "systemctl stop puppet-twitch-run.socket 'puppet-twitch-run@*.service';"
        f" until ! umount -R {stub.RUNTIME} 2>/dev/null; do :; done"
    )


# -- no room, no right, no directory ------------------------------------------------------------


def test_a_full_disk_refuses_runs_and_says_why(own_mount: Machine) -> None:
    with full(own_mount):
        reply = stub.trigger(own_mount)
        assert reply.status == 500
        assert reply.body.startswith("Puppet cannot be started: ")
        assert NO_SPACE in reply.body
        assert own_mount.curl("/version").status == 200
        assert own_mount.curl("/puppet/status").body == "idle\n"
    assert stub.stub_log(own_mount) == []
    runs_again(own_mount)


def test_a_disk_that_fills_up_during_a_run_keeps_the_verdict_for_later(own_mount: Machine) -> None:
    run = stub.hold(own_mount)
    with full_during(own_mount):
        stub.let_go(own_mount)
        own_mount.wait(lambda: not stub.unit_of(own_mount, run))
        # No run is lost: the record still says what was last known, and status and trigger are answered.
        assert stub.record(own_mount, run)["state"] == "running"
        assert own_mount.curl("/puppet/status").status in (200, 500)
        refused = stub.trigger(own_mount)
        assert (refused.status, NO_SPACE in refused.body) == (500, True)
    assert stub.stub_log(own_mount) == [f"began {run}", f"ended {run}"]
    runs_again(own_mount)
    assert stub.record(own_mount, run)["state"] == "finished"


@contextmanager
def full_during(node: Machine) -> Iterator[None]:
    """Fill the disk under a run that is under way: its socket and files stay where they are."""
    filler = "/run/filler"
    node.sh(f"dd if=/dev/zero of={filler} bs=4096 2>/dev/null; test -s {filler}", timeout_s=120)
    try:
        yield
    finally:
        node.run("rm", "-f", filler)


def test_a_read_only_directory_refuses_runs_and_says_why(own_mount: Machine) -> None:
    own_mount.sh(f"mount --bind {stub.RUNTIME} {stub.RUNTIME} && mount -o remount,bind,ro {stub.RUNTIME}")
    reply = stub.trigger(own_mount)
    assert (reply.status, READ_ONLY in reply.body) == (500, True)
    assert own_mount.curl("/puppet/status").body == "idle\n"
    own_mount.sh(f"umount {stub.RUNTIME}")
    assert stub.stub_log(own_mount) == []
    runs_again(own_mount)


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
    assert tidy.curl(f"/puppet/runs/{first}").status == 404
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


@pytest.mark.parametrize("name", ["current.json", "queued.json", "settings.json"])
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_a_spoilt_file_is_as_good_as_none(tidy: Machine, name: str, garbage: str) -> None:
    tidy.write(f"{stub.RUNTIME}/{name}", garbage)
    runs_again(tidy)


def test_a_spoilt_record_is_no_record(tidy: Machine) -> None:
    run = stub.started(tidy)
    stub.end_of(tidy, run)
    tidy.write(f"{stub.RUNTIME}/runs/{run}.json", '{"state"')
    assert tidy.curl(f"/puppet/runs/{run}").status == 404
    tidy.write(f"{stub.RUNTIME}/runs/{run}.json", "{}")
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
