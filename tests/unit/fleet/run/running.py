"""The command `run` against simulated nodes: in this process, or in one of its own that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import BinaryIO, Callable, NamedTuple, Optional, Union

from tests.fleet_nodes import Fleet
from twitch.fleet import main
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.result_file import read
from twitch.fleet.show.results import Results

ALL = ("--query", "nodes[certname] {}")
LONGEST_S = 60
REPOSITORY = Path(__file__).resolve().parents[4]

# The first terminal that the leader of a session opens becomes its controlling terminal (tty_ioctl(4)).
AT_CONTROLLING_TERMINAL = (
    "import os, sys; os.open(sys.argv[1], os.O_RDWR); os.execv(sys.argv[2], sys.argv[2:])"
)


class Ended(NamedTuple):
    """An invocation that has ended."""

    status: int
    results: Results
    runs: dict[str, int]  # node -> number of runs that have begun since the invocation was started

    def outcomes(self) -> dict[str, int]:
        return {outcome.value: number for outcome, number in self.results.outcomes.items() if number}

    def of(self, names: set[str]) -> set[Outcome]:
        found = {self.results.nodes[name].outcome for name in names}
        assert None not in found
        return {outcome for outcome in found if outcome is not None}


class Operator:
    """Somebody at a shell, with a token and a directory for files."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet = fleet
        self.directory = directory
        self.json = directory / "result.jsonl"
        self.errors = directory / "errors"  # standard error of a process of its own
        token = directory / "token"
        token.write_text(fleet.credentials.token)
        token.chmod(0o600)
        self.access: tuple[str, ...] = (
            *("--port", str(fleet.port), "--plain-http", "--clear-text-token", "--token-file", str(token)),
            *("--address-fact", "networking.ip"),
        )

    def arguments(self, *options: str, who: Sequence[str] = ALL) -> list[str]:
        servers = () if "--puppetserver" in options else ("--puppetserver", "none")
        return [
            "run", *who, *self.access, "--puppetdb", self.fleet.puppetdb.url, *servers,
            "--json", str(self.json), *options,
        ]  # fmt: skip

    def run(self, *options: str, who: Sequence[str] = ALL) -> Ended:
        """Run Puppet on the nodes, all of them by default."""
        before = self.started()
        status = main.main(self.arguments(*options, who=who))
        after = self.started()
        return Ended(status, read(self.json), {name: after[name] - before[name] for name in after})

    def started(self) -> dict[str, int]:
        return {name: len(runs) for name, runs in self.fleet.started().items()}

    def start(
        self,
        *options: str,
        who: Sequence[str] = ALL,
        stdin: Union[int, BinaryIO] = subprocess.DEVNULL,
        by: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        """Start the command in a process and a session of its own, so that it has no terminal."""
        return subprocess.Popen(
            [*by, sys.executable, "-m", "tests.fleet_nodes.impatient", *self.arguments(*options, who=who)],
            cwd=REPOSITORY,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=self.errors.open("wb"),
            start_new_session=True,
        )

    def read(self) -> Results:
        """Return the result as it is now."""
        return read(self.json)

    def wait_for(self, process: subprocess.Popen[bytes], text: str, times: int = 1) -> None:
        """Wait until a process has written a text so many times, into the result or to standard error."""
        deadline = time.monotonic() + LONGEST_S
        while sum(file.read_text().count(text) for file in (self.json, self.errors) if file.exists()) < times:
            assert process.poll() is None, f"ended before: {self.errors.read_text()}"
            assert time.monotonic() < deadline, f"{text!r} was not written {times} times"
            time.sleep(0.01)

    @contextlib.contextmanager
    def when(self, text: str, times: int, do: Callable[[], None]) -> Iterator[None]:
        """Do something while `run` goes on, as soon as the result has a text so many times."""
        over = threading.Event()

        def wait() -> None:
            while not over.wait(0.01):
                if self.json.exists() and self.json.read_text().count(text) >= times:
                    do()
                    return

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(LONGEST_S)

    def at_a_terminal(
        self,
        question: str,
        answer: str,
        *options: str,
        stdin: Optional[str] = None,
        stderr: Optional[BinaryIO] = None,
    ) -> int:
        """Start the command at a terminal, answer its questions, and return its exit status.

        With `stdin`, standard input is no terminal, but has this list of nodes; with `stderr`, standard error
        goes to that file.
        """
        ours, theirs = pty.openpty()
        who = ALL if stdin is None else ("--nodes", "-")
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", AT_CONTROLLING_TERMINAL, os.ttyname(theirs)),
                *(sys.executable, "-m", "tests.fleet_nodes.impatient", *self.arguments(*options, who=who)),
            ],
            cwd=REPOSITORY,
            stdin=theirs if stdin is None else subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr or theirs,
            env={**os.environ, "TERM": "dumb"},
            start_new_session=True,
        )
        os.close(theirs)
        if process.stdin is not None:
            process.stdin.write((stdin or "").encode())
            process.stdin.close()
        written = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while True:
                ready, _, _ = select.select([ours], [], [], LONGEST_S)
                assert ready, f"no question: {written.decode()}"
                written += os.read(ours, 65536)
                if answer and question.encode() in written:
                    os.write(ours, answer.encode())
                    answer = ""
        os.close(ours)
        status = process.wait(LONGEST_S)
        assert not answer, f"no question: {written.decode()}"
        return status

    def anew(self) -> None:
        """Write the next result into a file of its own."""
        self.json = self.directory / f"{self.json.stem}-anew.jsonl"


def most_at_once(path: Path, names: AbstractSet[str] = frozenset()) -> int:
    """Return the greatest number of runs between their lines `running` and `ended`."""
    running: set[str] = set()
    most = 0
    for line in map(json.loads, path.read_text().splitlines()):
        if line["line"] != "node" or (names and line["node"] not in names):
            continue
        if line["event"] == "running":
            running.add(line["node"])
        elif line["event"] in ("ended", "proven"):
            running.discard(line["node"])
        most = max(most, len(running))
    return most
