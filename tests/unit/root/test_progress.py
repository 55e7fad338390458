"""How far a run is: its phase, the resources of its catalog, its usual time, and the process it waits for."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.fake_puppet import FakePuppet
from tests.unit.processes import LIMIT_S, dead, live, wait_until, zombie
from tests.unit.records import OTHER, RUN, STARTED, finished
from twitch.node_status import APPLYING, PREPARING, REPORTING, STARTING, Doing
from twitch.records import CHANGED, FAILED, UNCHANGED, Options, Record
from twitch.root import progress
from twitch.root.claims import Claim
from twitch.root.node import Node
from twitch.root.process import start_time
from twitch.root.progress import Progress
from twitch.root.puppet_locks import Holder

WHOLE, NOOP, TAGGED = Options(), Options(noop=True), Options(tags=("ntp",))


def claim(pid: int) -> Claim:
    return Claim(RUN, pid, start_time(pid) or 0)


# ---- the phase


def written(path: Path, age_s: float, text: str = "") -> None:
    """Write a file that is this old."""
    path.write_text(text)
    then = time.time() - age_s
    os.utime(path, (then, then))


def phase(node: Node, pid: int, *, holder: int = 0, started_ago_s: float = 100) -> object:
    held = Holder(holder, 90) if holder else None
    return progress.look(node, claim(pid), held, time.time() - started_ago_s, []).phase


def test_no_progress_without_a_run(root_node: Node) -> None:
    assert progress.look(root_node, None, None, None, []) == Progress()


def test_phases_of_an_agents_run_in_their_order(root_node: Node, puppet: FakePuppet) -> None:
    pid = os.getpid()
    written(puppet.resources, 200)  # of the run before
    written(puppet.summary, 200)
    assert phase(root_node, pid) == STARTING
    written(puppet.lock, 90)
    assert phase(root_node, pid, holder=pid) == PREPARING
    written(puppet.resources, 80)
    assert phase(root_node, pid, holder=pid) == APPLYING
    written(puppet.summary, 70)
    assert phase(root_node, pid, holder=pid) == REPORTING
    puppet.lock.unlink()  # the process ends a moment later
    assert phase(root_node, pid) == REPORTING


def test_phase_without_a_catalog(root_node: Node, puppet: FakePuppet) -> None:
    written(puppet.lock, 90)
    written(puppet.resources, 200)
    written(puppet.summary, 70)
    assert phase(root_node, os.getpid(), holder=os.getpid()) == REPORTING


def test_phase_while_another_puppet_holds_the_lock(root_node: Node, puppet: FakePuppet) -> None:
    written(puppet.lock, 200)
    written(puppet.resources, 80)  # of the run that holds it
    assert phase(root_node, os.getpid(), holder=dead()) == STARTING


def test_phase_is_not_known_if_the_site_turns_the_list_of_resources_off(
    root_node: Node, puppet: FakePuppet
) -> None:
    root_node.settings = root_node.settings._replace(write_catalog_summary="false")
    written(puppet.lock, 90)
    assert phase(root_node, os.getpid(), holder=os.getpid()) is None
    written(puppet.summary, 70)
    assert phase(root_node, os.getpid(), holder=os.getpid()) == REPORTING


@pytest.mark.parametrize("name", ["resourcefile", "lastrunfile"])
def test_phase_without_a_setting(root_node: Node, puppet: FakePuppet, name: str) -> None:
    root_node.settings = root_node.settings._replace(**{name: ""})
    written(puppet.lock, 90)
    assert phase(root_node, os.getpid(), holder=os.getpid()) == PREPARING


def test_phase_of_puppet_apply(root_node: Node, puppet: FakePuppet) -> None:
    root_node.config = root_node.config._replace(command="apply")
    written(puppet.resources, 200)
    assert phase(root_node, os.getpid()) is None
    written(puppet.resources, 80)  # with --write-catalog-summary
    assert phase(root_node, os.getpid()) == APPLYING
    written(puppet.summary, 70)
    assert phase(root_node, os.getpid()) == REPORTING


def test_progress_of_a_run_that_we_did_not_start(root_node: Node, puppet: FakePuppet, tmp_path: Path) -> None:
    written(puppet.lock, 90)
    written(puppet.resources, 80, "file[/a]\nfile[/b]\n")
    ended = [finished(UNCHANGED, duration_s=float(seconds)) for seconds in (30, 31, 32)]
    with live(tmp_path, "puppet-x") as pid:
        found = progress.look(root_node, None, Holder(pid, 90), time.time() - 90, ended)
    assert found == Progress(APPLYING, resources=2, elapsed_s=90, usual_s=31)


def test_elapsed_time_is_not_negative_if_the_clock_was_set_back(root_node: Node) -> None:
    found = progress.look(root_node, claim(os.getpid()), None, time.time() + 500, [])
    assert found.elapsed_s == 0


def test_elapsed_time_of_a_run_without_a_record_is_not_known(root_node: Node) -> None:
    found = progress.look(root_node, claim(os.getpid()), None, None, [])
    assert (found.phase, found.elapsed_s) == (STARTING, None)


# ---- the resources


@pytest.mark.parametrize(
    ("text", "number"),
    [("file[/a]\n", 1), ("a[1]\nb[2]\nc[3]\n", 3), ("\n", 0), ("", 0), ("x" * 200_000 + "\ny\n", 2)],
    ids=["one", "three", "none", "empty", "of-several-blocks"],
)
def test_number_of_resources(tmp_path: Path, text: str, number: int) -> None:
    path = tmp_path / "resources.txt"
    path.write_text(text)
    assert progress.resources(os.fspath(path)) == number


def test_resources_in_a_file_that_cannot_be_trusted_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "resources.txt"
    assert progress.resources(os.fspath(path)) is None
    os.mkfifo(path)
    assert progress.resources(os.fspath(path)) is None
    path.unlink()
    path.symlink_to("/dev/zero")
    assert progress.resources(os.fspath(path)) is None
    path.unlink()
    path.write_text("a[1]\n" * 3)
    monkeypatch.setattr(progress, "MAX_RESOURCES_BYTES", 10)
    assert progress.resources(os.fspath(path)) is None


# ---- the usual time


def runs(verdict: str, *durations_s: float, options: Options = WHOLE) -> list[Record]:
    return [finished(verdict, duration_s=duration_s, options=options) for duration_s in durations_s]


def test_usual_time_is_the_median_of_good_runs() -> None:
    ended = [*runs(CHANGED, 90, 30.4), *runs(FAILED, 1, 1, 1, 1), *runs(UNCHANGED, 29.0)]
    assert progress.usual_s(ended, WHOLE) == 30
    assert progress.usual_s(ended, Options(environment="staging")) == 30


def test_usual_time_needs_three_runs() -> None:
    ended = [*runs(CHANGED, 30, 30), finished(UNCHANGED, OTHER, duration_s=None, ended=STARTED)]
    assert progress.usual_s(ended, WHOLE) is None


def test_usual_time_is_that_of_the_last_twenty_runs() -> None:
    assert progress.usual_s(runs(UNCHANGED, *[30] * 20, *[900] * 30), WHOLE) == 30


@pytest.mark.parametrize(
    ("options", "usual_s"),
    [(WHOLE, 30), (NOOP, 20), (TAGGED, 5), (Options(tags=("ssh",)), 5), (Options(True, ("a",)), None)],
    ids=["whole", "noop", "tags", "other-tags", "noop-and-tags"],
)
def test_usual_time_is_that_of_the_same_kind_of_run(options: Options, usual_s: object) -> None:
    ended = runs(UNCHANGED, 30, 30, 30) + runs(UNCHANGED, 20, 20, 20, options=NOOP)
    ended += runs(UNCHANGED, 5, 5, 5, options=TAGGED)
    assert progress.usual_s(ended, options) == usual_s


# ---- the process


@contextmanager
def line_of_processes(directory: Path, script: str) -> Iterator[int]:
    """Yield the pid of a shell that runs a script; the script writes to a pipe when it is ready."""
    (directory / "packager").symlink_to("/bin/cat")
    process = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", directory / "packager"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    try:
        yield process.pid
    finally:
        process.communicate(timeout=LIMIT_S)


# The second child is younger, and has a child, too. Each of them ends with the input of the script.
LINE = """\
exec 3<&0
sh -c '"$1" <&3; true' sh "$1" & first=$!
sh -c 'cat <&3; true' &
echo ready
wait
"""


def test_doing_is_the_deepest_process_below_the_oldest_child(tmp_path: Path) -> None:
    with line_of_processes(tmp_path, LINE) as pid:
        wait_until(lambda: (progress.doing(pid) or ("",))[0] == "packager", "the line of processes is there")
        found = progress.doing(pid)
    assert found is not None
    assert found.name == "packager"
    assert 0 <= found.age_s < LIMIT_S


def test_doing_nothing_without_a_child(tmp_path: Path) -> None:
    with live(tmp_path, "puppet-x") as pid:
        assert progress.doing(pid) is None
    assert progress.doing(dead()) is None


def test_doing_does_not_name_a_child_that_has_ended(tmp_path: Path) -> None:
    with zombie(tmp_path, "packager") as pid:
        assert pid not in [child for _, child in progress.children(os.getpid())]


def test_doing_is_named_on_one_line(tmp_path: Path) -> None:
    with live(tmp_path, "a\nb"):
        found = progress.doing(os.getpid())
    assert found == Doing("a\\nb", found.age_s if found else 0)


def test_doing_follows_no_endless_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "children", lambda pid: [(1, os.getpid())])
    assert progress.doing(os.getpid()) is not None
