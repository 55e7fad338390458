"""The journal of a node, log readers that systemd would start, and a client that follows a log."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.unit.api_under_test import RUN, request
from tests.unit.fake_journal import Entry, FakeJournal, asked, entry
from tests.unit.wire import Client
from twitch.errors import PacketError
from twitch.log import reader

LINES = [asked(), entry("one"), entry("two", PRIORITY="4"), entry("three")]
LOG = f"/puppet/runs/{RUN}/log"


class View(FakeJournal):
    """What one log reader sees of the journal of a node."""

    def __init__(self, node: Journald) -> None:
        super().__init__()
        self.entries = node.entries
        self.exists = node.exists


class Journald:
    """The journal of a node, and the socket at which systemd starts a log reader for each connection."""

    def __init__(self, path: str) -> None:
        self.entries: list[Entry] = list(LINES)
        self.exists = True
        self.places = 16
        self.views: list[View] = []
        self.readers = 0  # that were ever started
        self._threads: list[threading.Thread] = []
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(path)
        self._listening.listen(64)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:
                return
            if len(self.views) >= self.places:
                peer.close()
                continue
            self.readers += 1
            self.views.append(View(self))
            thread = threading.Thread(target=self._serve, args=(peer, self.views[-1]), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket, view: View) -> None:
        with contextlib.suppress(PacketError, OSError):
            reader.serve(peer, view)  # type: ignore[arg-type]
        self.views.remove(view)
        peer.close()

    def append(self, *entries: Entry) -> None:
        """Add entries; every reader that waits is woken."""
        self.entries += entries
        for view in list(self.views):
            with contextlib.suppress(OSError):
                view.append()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join(60)
        self._listening.close()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a log reader is left behind"


class Stream:
    """A follower: reads the head of the answer, then line after line."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.buffer = b""

    async def begin(self, target: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
        await self.client.send(
            request(method, target, *headers).replace(b"HTTP/1.1", f"HTTP/{version}".encode())
        )
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += await self.more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head

    async def more(self) -> bytes:
        data = await self.client.receive()
        assert data, f"the end, after {self.buffer!r}"
        return data

    async def until(self, text: str) -> bytes:
        """Return what comes up to this text."""
        while text.encode() not in self.buffer:
            self.buffer += await self.more()
        before, found, self.buffer = self.buffer.partition(text.encode())
        return before + found

    async def rest(self) -> bytes:
        return self.buffer + await self.client.drain()
