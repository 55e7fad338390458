"""The line between the test and a process that it has started: one JSON object a line, each way.

The process ends when its side reads the end of the line, so it never outlives the test.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

REPOSITORY = Path(__file__).resolve().parents[2]

# For an answer to a command. A process that takes longer hangs.
ANSWER_S = 60.0


class Process:
    """A process of the simulator, as the test sees it."""

    def __init__(self, module: str, *arguments: str, sockets: Sequence[socket.socket] = ()) -> None:
        ours, theirs = socket.socketpair()
        self._line = ours
        ours.settimeout(ANSWER_S)
        self._answers = ours.makefile("rb")
        descriptors = [one.fileno() for one in sockets]
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, *map(str, descriptors)],
            stdin=theirs.fileno(),
            cwd=REPOSITORY,
            pass_fds=descriptors,
        )
        theirs.close()
        self.pid = self._process.pid

    def ready(self) -> None:
        """Wait until the process serves."""
        self._answer()

    def ask(self, do: str, **fields: Any) -> Any:
        """Return the answer to a command."""
        self._line.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._answers.close()
        self._line.close()
        try:
            self._process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> Any:
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"the process {self._process.args!r} has ended: {self._process.wait()}")
        return json.loads(line)


async def serve(commands: dict[str, Callable[..., Any]], longest_s: int) -> None:
    """Answer the commands of the test until it ends; end the process after `longest_s` at the latest."""
    signal.alarm(longest_s)
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=os.dup(0)), limit=1 << 24)
    writer.write(b"true\n")
    while line := await reader.readline():
        fields = json.loads(line)
        answer = commands[fields.pop("do")](**fields)
        if asyncio.iscoroutine(answer):
            answer = await answer
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
