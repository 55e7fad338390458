"""The real processes of puppet-twitch, with a `/run` and an `/etc` that are private to a test.

The paths are constants in the code, so each process gets a mount namespace of its own, in which these
two are directories of the test. Its events go to a socket of the test instead of journald's. All of this
needs root, as the handler does.
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
from tests.unit.processes import LIMIT_S, exit_status
from twitch import messages
from twitch.messages import Answer
from twitch.root.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"  # as in the units

TWITCH_UID = TWITCH_GID = 65123
ETC = {
    "passwd": f"root:x:0:0::/root:/bin/sh\ntwitch:x:{TWITCH_UID}:{TWITCH_GID}::/:/usr/sbin/nologin\n",
    "group": f"root:x:0:\ntwitch:x:{TWITCH_GID}:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\n",
}
ON_NODE = """
mount --bind "$1" /run && mount --bind "$2" /etc && mount --bind "$3" /var/lib && shift 3 && exec "$@"
"""


def make_tree(directory: Path) -> Path:
    """Install the code in a directory, as `make install` does."""
    shutil.copytree(REPOSITORY / "twitch", directory / "twitch", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "units" / "tree.py", directory / "__main__.py")
    subprocess.run([PYTHON, "-I", "-m", "compileall", "-q", directory], check=True)
    return directory


class FakeNode:
    """One node: its `/run`, its `/etc`, its Puppet, its journal."""

    def __init__(self, directory: Path, tree: Path) -> None:
        self.run, self.etc, self.tree = directory / "run", directory / "etc", tree
        self.lib = directory / "lib"  # /var/lib
        self.lib.mkdir()
        self.run.joinpath("puppet-twitch").mkdir(parents=True)
        self.run.joinpath("systemd", "journal").mkdir(parents=True)
        self.etc.joinpath("puppet-twitch").mkdir(parents=True)
        for name, content in ETC.items():
            self.etc.joinpath(name).write_text(content)
        self.puppet = FakePuppet(directory / "puppet")
        self.configure()
        self.store = Store(os.fspath(self.run / "puppet-twitch"), os.fspath(self.lib / "puppet-twitch"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._journal = Journal(self.run / "systemd/journal/socket")

    def close(self) -> None:
        """Leave no process behind, however the test has ended."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                exit_status(process)
        self._journal.close()

    def configure(self, text: str = "") -> None:
        """Write puppet-twitch.conf, with the fake Puppet unless the text has a [puppet] of its own."""
        if "[puppet]" not in text:
            text += f"\n[puppet]\npath = {self.puppet.path}\n"
        self.etc.joinpath("puppet-twitch/puppet-twitch.conf").write_text(text)

    def start(
        self,
        *words: Union[str, Path],
        stdin: Union[int, IO[Any]] = subprocess.DEVNULL,
        stdout: Union[int, IO[Any], None] = None,
        stderr: Union[int, IO[Any], None] = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command on the node; the process that is returned becomes the command itself."""
        on_node = ("/usr/bin/unshare", "--mount", "/bin/sh", "-c", ON_NODE, "sh")
        process = subprocess.Popen(
            [*on_node, self.run, self.etc, self.lib, *words],
            stdin=stdin,
            stdout=stdout,
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
        """Start a handler as its unit does, with a connection as its standard input."""
        from_systemd = {"INVOCATION_ID": run, **(environment or {})}
        return self.start(
            PYTHON, "-I", "-S", self.tree, "handle", stdin=stdin, stderr=stderr, environment=from_systemd
        )

    def conclude(
        self,
        run: str,
        code: str = "exited",
        status: str = "0",
        stdin: Union[int, IO[Any]] = subprocess.DEVNULL,
    ) -> None:
        """Run conclude, as systemd does when the process of a run has ended."""
        from_systemd = {"INVOCATION_ID": run, "EXIT_CODE": code, "EXIT_STATUS": status}
        process = self.start(PYTHON, "-I", "-S", self.tree, "conclude", stdin=stdin, environment=from_systemd)
        assert exit_status(process) == 0

    def events(self) -> list[dict[str, str]]:
        """Return the fields of each event that was written to the journal since the last call."""
        return [
            dict(line.split("=", 1) for line in entry.splitlines() if "=" in line)
            for entry in self._journal.entries()
        ]


class Journal(threading.Thread):
    """Reads the journal's socket all the time, because a few unread datagrams block their senders."""

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
        """Return the entries that have arrived since the last call."""
        self._send(b"now")
        return list(iter(lambda: self._read.get(timeout=LIMIT_S), "now"))

    def close(self) -> None:
        self._send(b"")
        self.join(LIMIT_S)
        self._socket.close()

    def _send(self, entry: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(entry, self._path)


class Question:
    """A question to a handler of its own: it is started, asked, and answers."""

    def __init__(
        self,
        node: FakeNode,
        asked: Union[messages.Question, bytes, None],
        *,
        run: str,
        environment: Optional[Mapping[str, str]] = None,
        stderr: Optional[int] = None,
    ) -> None:
        self.run = run
        # systemd keeps the other end until the unit of the question has ended.
        self.peer, self.unit_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.peer.settimeout(LIMIT_S)
        self.process = node.handle(run, self.unit_end.fileno(), environment, stderr)
        if asked is not None:
            self.ask(asked)

    def ask(self, asked: Union[messages.Question, bytes]) -> None:
        self.peer.sendall(asked if isinstance(asked, bytes) else messages.encode(asked))

    def answer(self) -> Answer:
        """Wait for the answer: one packet, and the end of the connection unless a run of its own begins."""
        packet = self.peer.recv(messages.MAX_PACKET_BYTES + 1)
        answer = messages.decode_answer(packet)
        assert answer.run == self.run or self.at_end()
        return answer

    def at_end(self) -> bool:
        """Wait for the end of the connection."""
        return self.peer.recv(1) == b""

    def errors(self) -> str:
        """Wait for the end of the process, and return all that it wrote to stderr, which has to be a pipe."""
        _, errors = self.process.communicate(timeout=LIMIT_S)
        return bytes(errors).decode()

    def end(self) -> int:
        """Wait for the end of the process, which may have become Puppet; return its exit status."""
        self.peer.close()
        self.unit_end.close()
        return exit_status(self.process)


def new_run(number: int) -> str:
    """Return an invocation id."""
    return f"{number:032x}"
