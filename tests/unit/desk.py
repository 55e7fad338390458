"""The API as a listener has it: on a real connection, before a real run socket behind which somebody
plays root, with real records and real files of configuration."""

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
from twitch import config, messages, runs
from twitch.listener import tokens
from twitch.listener.api.routes import API
from twitch.listener.refusals import Refusals
from twitch.listener.root_client import Handler
from twitch.listener.watched import Watched
from twitch.messages import Answer, Run, Status
from twitch.runs import Store

RUN, OTHER = "1" * 32, "2" * 32

Question = Union[Run, Status]
Says = Callable[[Question], Union[Answer, bytes, None]]


class Root(threading.Thread):
    """Plays the handler: hears a packet, says what it is told to say (None: leaves without a word)."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.asked: list[Question] = []
        self.deaf = False  # leaves without having read
        self.says: Says = lambda question: Answer("started", run=RUN)
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
            with peer:
                if self.deaf:
                    select.select([peer], [], [])
                    continue
                question = messages.decode_question(peer.recv(messages.MAX_PACKET_BYTES + 1))
                self.asked.append(question)
                said = self.says(question)
                if said is not None:
                    peer.sendall(said if isinstance(said, bytes) else messages.encode(said))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self.join()
        self._listening.close()


class Desk:
    """The API and all that it looks at."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = Store(os.fspath(directory))
        os.mkdir(self.store.directory)
        self.socket = os.fspath(directory / "run.sock")
        self.root = Root(self.socket)
        self.conf, self.tokens = directory / "conf", directory / "tokens"
        self.refusals = Refusals()
        self.api = API(
            Watched(os.fspath(self.conf), config.load),
            Watched(os.fspath(self.tokens), tokens.load),
            Handler(self.store, self.socket),
            self.store,
            self.refusals,
        )

    def close(self) -> None:
        self.root.close()

    def says(self, kind: str, **fields: Any) -> None:
        """Let root say this from now on."""
        self.root.says = lambda question: Answer(kind, **fields)

    def allow(self, *lines: str) -> None:
        """Write `[access]`."""
        self.conf.write_text("\n".join(("[access]", *lines, "")))

    def token(self, name: str) -> str:
        """Make a token known, and return the header that shows it."""
        token, line = tokens.new(name)
        with self.tokens.open("a") as file:
            file.write(line + "\n")
        return f"Authorization: Bearer {token}"

    def record(self, run: str = RUN, **more: Any) -> runs.Record:
        """Put a run on record, as the handler does when it begins."""
        record: runs.Record = {
            "run": run,
            "state": runs.RUNNING,
            "asked": 1769072700.0,
            "started": 1769072701.0,
            "caller": "token:deploy",
            "client": "192.0.2.99",
            "options": {"noop": False, "tags": [], "environment": None},
            **more,
        }
        self.store.write(record)
        return record

    def finish(self, verdict: str, run: str = RUN, **more: Any) -> None:
        """Put its end on record, as conclude does."""
        ended = {"ended": 1769072703.5, "duration_s": 2.5, "exit_status": "2", "reason": None, "error": None}
        told = {"noop": False, "cached_catalog_status": "not_used", "counts": {"changed": 3}}
        self.record(run, **{**ended, **told, "state": runs.FINISHED, "verdict": verdict, **more})

    @contextlib.asynccontextmanager
    async def visit(self) -> AsyncIterator[Client]:
        async with visit(self.api) as client:
            yield client
        self.refusals.flush()

    async def ask(self, method: str, target: str, *headers: str, body: bytes = b"") -> Reply:
        """Ask once, on a connection of its own."""
        async with self.visit() as client:
            return await client.ask(request(method, target, *headers, body=body))

    async def get(self, target: str, *headers: str) -> Reply:
        return await self.ask("GET", target, *headers)

    async def json(self, target: str, *headers: str, method: str = "GET") -> dict[str, Any]:
        """Ask for JSON, and return it with the status of the answer as `http`."""
        reply = await self.ask(method, target, "Accept: application/json", *headers)
        fields: dict[str, Any] = json.loads(reply.body)
        kind = "application/json" if reply.status < 400 else "application/problem+json"
        assert reply.headers["content-type"] == kind
        return {"http": reply.status, **fields}


def request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    length = (f"Content-Length: {len(body)}",) if body else ()
    lines = (f"{method} {target} HTTP/1.1", "Host: node", *headers, *length, "", "")
    return "\r\n".join(lines).encode() + body


def look(state: str = "idle", last: Optional[dict[str, Any]] = None, **more: Any) -> dict[str, Any]:
    """A status as root tells it."""
    nothing = dict.fromkeys(("run", "queued", "since", "reason", "pid"))
    return {"state": state, **nothing, "last": last, **more}


def last(verdict: str = "changed", ago_s: float = 60, **more: Any) -> dict[str, Any]:
    """A last run as root tells it."""
    return {
        "verdict": verdict,
        "ended": time.time() - ago_s,
        "duration_s": 2.25,
        "counts": {"total": 12, "changed": 3, "failed": 0},
        "environment": "production",
        **more,
    }
