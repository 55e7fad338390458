"""The real processes of puppet-twitch, on paths that are real to them and private to a test.

`/run` and `/etc` are constants in the code, and they stay so: a process gets a mount namespace of
its own, in which these two are directories of the test. What it says to the journal goes to a
socket of the test. Needs root, like the handler itself.
"""

from __future__ import annotations

import os
import queue
import shutil
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Optional, Union

from tests.unit.fake_puppet import FakePuppet
from twitch import messages
from twitch.messages import Answer, Run, Status
from twitch.runs import Store

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"  # as in the units

TWITCH_UID = TWITCH_GID = 65123
ETC = {
    "passwd": f"root:x:0:0::/root:/bin/sh\ntwitch:x:{TWITCH_UID}:{TWITCH_GID}::/:/usr/sbin/nologin\n",
    "group": f"root:x:0:\ntwitch:x:{TWITCH_GID}:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\n",
}
INSIDE = 'mount --bind "$1" /run && mount --bind "$2" /etc && shift 2 && exec "$@"'


def make_tree(directory: Path) -> Path:
    """Put the code where a process runs it from, as `make install` does."""
    shutil.copytree(REPOSITORY / "twitch", directory / "twitch", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "units" / "tree.py", directory / "__main__.py")
    subprocess.run([PYTHON, "-I", "-m", "compileall", "-q", directory], check=True)
    return directory


class House:
    """One node: its `/run`, its `/etc`, its Puppet, its journal."""

    def __init__(self, directory: Path, tree: Path) -> None:
        self.run, self.etc, self.tree = directory / "run", directory / "etc", tree
        self.run.joinpath("puppet-twitch").mkdir(parents=True)
        self.run.joinpath("systemd", "journal").mkdir(parents=True)
        self.etc.joinpath("puppet-twitch").mkdir(parents=True)
        for name, content in ETC.items():
            self.etc.joinpath(name).write_text(content)
        self.puppet = FakePuppet(directory / "puppet")
        self.configure()
        self.store = Store(os.fspath(self.run / "puppet-twitch"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._journal = Journal(self.run / "systemd/journal/socket")

    def close(self) -> None:
        """Leave nobody behind, whatever has become of the test."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self._journal.close()

    def configure(self, text: str = "") -> None:
        """Write puppet-twitch.conf; its Puppet is the fake one, unless the text says otherwise."""
        if "[puppet]" not in text:
            text += f"\n[puppet]\npath = {self.puppet.path}\n"
        self.etc.joinpath("puppet-twitch/puppet-twitch.conf").write_text(text)

    def start(
        self,
        *words: Union[str, Path],
        stdin: Union[int, IO[Any]] = subprocess.DEVNULL,
        stderr: Optional[int] = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command inside; the process is the command itself, with this pid."""
        inside = ("/usr/bin/unshare", "--mount", "/bin/sh", "-c", INSIDE, "sh", self.run, self.etc)
        process = subprocess.Popen(
            [*inside, *words],
            stdin=stdin,
            stderr=stderr,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(environment or {})},
        )
        self._processes.append(process)
        return process

    def handle(
        self,
        run: str,
        stdin: Union[int, IO[Any]],
        environment: Optional[Mapping[str, str]] = None,
        stderr: Optional[int] = None,
    ) -> subprocess.Popen[bytes]:
        """Start a handler as its unit does, with a connection for its standard input."""
        told = {"INVOCATION_ID": run, **(environment or {})}
        return self.start(PYTHON, "-I", self.tree, "handle", stdin=stdin, stderr=stderr, environment=told)

    def conclude(self, run: str, exit_code: str = "exited", exit_status: str = "0") -> None:
        """What systemd does when the process of a run has ended."""
        ended = {"INVOCATION_ID": run, "EXIT_CODE": exit_code, "EXIT_STATUS": exit_status}
        process = self.start(PYTHON, "-I", self.tree, "conclude", environment=ended)
        assert process.wait() == 0

    def events(self) -> list[dict[str, str]]:
        """Return the fields of what was written to the journal since the last look."""
        return [
            dict(line.split("=", 1) for line in entry.splitlines() if "=" in line)
            for entry in self._journal.entries()
        ]


class Journal(threading.Thread):
    """Reads what is sent to a journal's socket, at once: a few unread datagrams block their senders."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(os.fspath(path))
        self._path = os.fspath(path)
        self._read: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        while entry := self._socket.recv(65536):
            self._read.put(entry.decode())

    def entries(self) -> list[str]:
        """Return what has come since the last call."""
        self._say(b"now")
        return list(iter(self._read.get, "now"))

    def close(self) -> None:
        self._say(b"")
        self.join()
        self._socket.close()

    def _say(self, entry: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(entry, self._path)


class Question:
    """A question to a handler of its own: started, asked, answered."""

    def __init__(
        self,
        house: House,
        asked: Union[Run, Status, bytes, None],
        *,
        run: str,
        environment: Optional[Mapping[str, str]] = None,
        stderr: Optional[int] = None,
    ) -> None:
        self.run = run
        self.peer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = house.handle(run, theirs.fileno(), environment, stderr)
        if asked is not None:
            self.ask(asked)

    def ask(self, asked: Union[Run, Status, bytes]) -> None:
        self.peer.sendall(asked if isinstance(asked, bytes) else messages.encode(asked))

    def answer(self) -> Answer:
        """Wait for the answer, which is one packet and the end."""
        packet = self.peer.recv(messages.MAX_PACKET_BYTES + 1)
        assert self.peer.recv(1) == b""
        return messages.decode_answer(packet)

    def end(self) -> int:
        """Wait for the end of the process, whatever it has become; return its exit status."""
        self.peer.close()
        return self.process.wait()


def new_run(number: int) -> str:
    """Return an invocation id."""
    return f"{number:032x}"
