"""The commands as a person types them: real processes beside real handlers, on a node of the test.

A thread does what systemd does for `puppet-twitch-run.socket`: it starts a handler for each connection, and
conclude when the process of a run has ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import threading
from typing import NamedTuple, Optional

from tests.unit.fake_node import PYTHON, FakeNode, new_run
from tests.unit.processes import LIMIT_S


def run_id(number: int) -> str:
    """Return the id of a run, whose first digits are its number."""
    return new_run(number)[::-1]


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


class Commands:
    """Runs commands on a node. The n-th question to root, if it becomes a run, is `run_id(n)`."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.ends = "2"  # the exit status that systemd tells conclude; 2: resources have changed
        self.environment = {"NO_COLOR": ""}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._path = node.run / "puppet-twitch/run.sock"
        self._socket.bind(os.fspath(self._path))
        self._socket.listen(16)
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Close the run socket, and wait until every run is concluded."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT_S)
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def start(self, *words: str, stdout: Optional[int] = subprocess.PIPE) -> subprocess.Popen[bytes]:
        """Start a command."""
        return self.node.start(
            PYTHON,
            "-I",
            self.node.tree,
            *words,
            stdout=stdout,
            stderr=subprocess.PIPE,
            environment=self.environment,
        )

    def run(self, *words: str) -> Done:
        """Run a command to its end, without a terminal."""
        return self.end(self.start(*words))

    def end(self, process: subprocess.Popen[bytes]) -> Done:
        """Wait for the end of a command."""
        out, err = process.communicate(timeout=LIMIT_S)
        return Done(process.returncode, (out or b"").decode(), err.decode())

    def _serve(self) -> None:
        number = 0
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return  # closed
            number += 1
            run = run_id(number)
            with peer:
                handler = self.node.handle(run, peer.fileno(), stderr=subprocess.DEVNULL)
            self._threads.append(threading.Thread(target=self._conclude, args=(run, handler), daemon=True))
            self._threads[-1].start()

    def _conclude(self, run: str, handler: subprocess.Popen[bytes]) -> None:
        handler.wait(LIMIT_S)
        if self.node.store.read(run):
            self.node.conclude(run, status=self.ends)


def on_terminal(commands: Commands, *words: str, columns: int = 80) -> str:
    """Run a command on a terminal of its own, and return what appears there."""
    import fcntl
    import struct
    import termios

    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    process = commands.start(*words, stdout=follower)
    os.close(follower)
    shown = b""
    while select.select([leader], [], [], LIMIT_S)[0]:
        try:
            shown += os.read(leader, 4096)
        except OSError:
            break  # the command has ended
    os.close(leader)
    commands.end(process)
    return shown.decode().replace("\r\n", "\n")
