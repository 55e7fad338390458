"""The API as a listener runs it: on real connections, with real records and configuration files, and with a
thread in the place of root on a real run socket."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Callable, Optional, Union

from tests.unit.wire import Answer as Reply
from tests.unit.wire import Client, visit
from twitch import config, messages
from twitch.listener import tokens
from twitch.listener.api.routes import API
from twitch.listener.refusal_log import Refusals
from twitch.listener.root_client import RootClient
from twitch.listener.watched import Watched
from twitch.messages import Answer, Question
from twitch.node_status import LastRun, NodeStatus
from twitch.records import FINISHED, RUNNING, Record
from twitch.root.store import Store

RUN, OTHER = "1" * 32, "2" * 32

# The answer to a question, as a message or as the bytes of a packet; None hangs up without an answer.
Answers = Callable[[Question], Union[Answer, bytes, None]]


class FakeRoot(threading.Thread):
    """Answers the questions on a run socket, in place of the handler."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.asked: list[Question] = []
        self.never_reads = False  # hang up before the packet is read
        self.answer_to: Answers = lambda question: Answer("started", run=RUN)
        self._runs: dict[Optional[str], list[socket.socket]] = {}  # connections of runs that have not ended
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(path)
        self._listening.listen(16)
        self.start()

    def run(self) -> None:
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:
                return  # closed
            with contextlib.ExitStack() as until_answered:
                until_answered.enter_context(peer)
                if self.never_reads:
                    select.select([peer], [], [])
                    continue
                question = messages.decode_question(peer.recv(messages.MAX_PACKET_BYTES + 1))
                self.asked.append(question)
                answer = self.answer_to(question)
                if isinstance(answer, Answer) and answer.kind in ("started", "queued"):
                    until_answered.pop_all()
                    self._runs.setdefault(answer.run, []).append(peer)
                if answer is not None:
                    peer.sendall(answer if isinstance(answer, bytes) else messages.encode(answer))

    def end(self, run: str) -> None:
        """Close the connection of a run, as systemd does when its unit has ended."""
        for peer in self._runs.pop(run, []):
            peer.close()

    def close(self) -> None:
        for run in list(self._runs):
            self.end(str(run))
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self.join()
        self._listening.close()


class ApiUnderTest:
    """The API with all files and sockets that it reads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = Store(os.fspath(directory))
        os.mkdir(self.store.directory)
        self.socket = os.fspath(directory / "run.sock")
        self.root = FakeRoot(self.socket)
        self.conf, self.tokens = directory / "conf", directory / "tokens"
        self.conf.write_text("# The defaults apply.\n")
        self.refusals = Refusals()
        self.root_client = RootClient(self.store, self.socket)
        self.service = API(
            Watched(os.fspath(self.conf), config.load),
            Watched(os.fspath(self.tokens), tokens.load),
            self.root_client,
            self.store,
            self.refusals,
        )

    def close(self) -> None:
        self.root.close()

    def logs(self, path: str) -> None:
        """Let the API read logs at this socket."""
        from twitch.listener.log_sharing import Sources

        self.service._logs = Sources(self.store, self.service._root, path)

    def root_answers(self, kind: str, **fields: Any) -> None:
        """Let root give this answer from now on."""
        self.root.answer_to = lambda question: Answer(kind, **fields)

    def allow(self, *lines: str) -> None:
        """Write the section [access] of the configuration."""
        self.conf.write_text("\n".join(("[access]", *lines, "")))

    def token(self, name: str) -> str:
        """Add a token to the file, and return the header that presents it."""
        token, line = tokens.new(name)
        with self.tokens.open("a") as file:
            file.write(line + "\n")
        return f"Authorization: Bearer {token}"

    def record(self, run: str = RUN, **fields: Any) -> Record:
        """Write the record of a run, as the handler does when the run begins."""
        begun = Record(
            run, RUNNING, 1769072700.0, caller="token:deploy", client="192.0.2.99", started=1769072701.0
        )
        record = begun._replace(**fields)
        self.store.write(record)
        return record

    def finish(self, verdict: str, run: str = RUN, **fields: Any) -> None:
        """Write the record of a run, as conclude does when the run has ended."""
        end = {"state": FINISHED, "ended": 1769072703.5, "duration_s": 2.5, "exit_status": "2"}
        report = {"noop": False, "cached_catalog_status": "not_used", "counts": {"changed": 3}}
        self.record(run, **{**end, **report, "verdict": verdict, **fields})
        self.root.end(run)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Return a client with a connection to the API; log the refusals when it has left."""
        async with visit(self.service) as client:
            yield client
        self.refusals.flush()

    async def ask(self, method: str, target: str, *headers: str, body: bytes = b"") -> Reply:
        """Send one request on a connection of its own, and return the reply."""
        async with self.client() as client:
            return await client.ask(request(method, target, *headers, body=body))

    async def get(self, target: str, *headers: str) -> Reply:
        return await self.ask("GET", target, *headers)

    async def json(self, target: str, *headers: str, method: str = "GET") -> dict[str, Any]:
        """Return the reply in JSON, with the status of the response as `http`."""
        reply = await self.ask(method, target, "Accept: application/json", *headers)
        fields: dict[str, Any] = json.loads(reply.body)
        media_type = "application/json" if reply.status < 400 else "application/problem+json"
        assert reply.headers["content-type"] == media_type
        return {"http": reply.status, **fields}


def request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    length = (f"Content-Length: {len(body)}",) if body else ()
    lines = (f"{method} {target} HTTP/1.1", "Host: node", *headers, *length, "", "")
    return "\r\n".join(lines).encode() + body


def node_status(state: str = "idle", last: Optional[LastRun] = None, **fields: Any) -> NodeStatus:
    """Return a status as root answers it."""
    return NodeStatus(state, last=last)._replace(**fields)


def last_run(verdict: str = "changed", ago_s: float = 60, **fields: Any) -> LastRun:
    """Return a last run as root answers it."""
    counts = {"total": 12, "changed": 3, "failed": 0}
    return LastRun(verdict, time.time() - ago_s, 2.25, counts, "production")._replace(**fields)
