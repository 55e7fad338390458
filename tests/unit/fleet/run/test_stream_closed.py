"""The reader of an output goes away, as with `| head`: the runs and the files are what they would be."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fleet_nodes
from tests.unit.fleet.run.running import AT_CONTROLLING_TERMINAL, LONGEST_S, REPOSITORY, Operator
from twitch.fleet.exits import BROKEN_PIPE, HUNG_UP
from twitch.fleet.show.result_file import read


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with fleet_nodes.start(6, run_s=(0.05, 0.1)) as fleet:
        yield Operator(fleet, tmp_path_factory.mktemp("operator"))


def started(
    operator: Operator, *options: str, stdout: int = subprocess.DEVNULL, stderr: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    words = operator.arguments("--at-once", "2", *options)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fleet_nodes.impatient", *words],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )


def test_runs_are_followed_to_their_ends_without_standard_error(operator: Operator) -> None:
    process = started(operator, stderr=subprocess.PIPE)
    assert process.stderr is not None
    while b"changed" not in (line := process.stderr.readline()):  # the first end of a run
        assert line
    process.stderr.close()
    assert process.wait(LONGEST_S) == 0
    results = read(operator.json)
    assert results.summary is not None and results.summary.exit == 0
    assert set(operator.started().values()) == {1}


def test_the_page_is_written_without_standard_output(operator: Operator) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    page = operator.directory / "page.html"
    process = started(operator, "--html", str(page), stdout=theirs)
    os.close(theirs)
    assert process.wait(LONGEST_S) == BROKEN_PIPE
    assert page.read_text().endswith("</html>\n")


def test_runs_that_have_begun_are_in_the_result_after_the_terminal_is_closed(
    tmp_path: Path,
) -> None:
    with fleet_nodes.start(4, run_s=(8.0, 8.0)) as fleet:
        operator = Operator(fleet, tmp_path)
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", AT_CONTROLLING_TERMINAL, os.ttyname(theirs)),
                *(sys.executable, "-m", "tests.fleet_nodes.impatient"),
                *operator.arguments(
                    "--at-once", "2", "--seed", "1", "--remaining", str(tmp_path / "remaining")
                ),
            ],
            cwd=REPOSITORY,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        operator.wait_for(process, '"event":"running"', 2)
        os.close(ours)  # the kernel sends SIGHUP, and the terminal cannot be written to any more
        assert process.wait(LONGEST_S) == HUNG_UP
        results = operator.read()
        assert results.summary is not None and results.summary.exit == HUNG_UP
        assert str(results.summary.stopped).startswith("ended by SIGHUP")
        assert sum(node.run is not None for node in results.nodes.values()) == 2
        assert len((tmp_path / "remaining").read_text().split()) == 4
        for node in fleet.nodes:  # whose run goes on
            fleet.finish(node.name)
        resumed = operator.run(who=["--from", str(operator.json)])
        assert (resumed.status, resumed.outcomes()) == (0, {"changed": 4})
        assert set(operator.started().values()) == {1}


def test_a_run_under_nohup_goes_on_after_sighup(operator: Operator) -> None:
    operator.anew()
    before = operator.started()
    process = operator.start("--at-once", "2", by=["nohup"])
    operator.wait_for(process, '"event":"running"', 2)
    process.send_signal(signal.SIGHUP)
    assert process.wait(LONGEST_S) == 0
    assert {name: number - before[name] for name, number in operator.started().items()} == dict.fromkeys(
        before, 1
    )
