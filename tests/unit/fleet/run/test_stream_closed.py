"""The reader of an output goes away, as with `| head`: the runs and the files are what they would be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import fleet_nodes
from tests.unit.fleet.run.running import LONGEST_S, REPOSITORY, Operator
from twitch.fleet.main import BROKEN_PIPE
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
    while b"changed" not in process.stderr.readline():  # the first end of a run
        assert process.poll() is None
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
