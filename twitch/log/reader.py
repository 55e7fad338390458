"""`puppet-twitch read-log`: read one packet, send the lines of one run, follow them if asked to, and leave.

systemd starts it for each connection to log.sock (Accept=yes), as a user that is neither root nor the
listener's, with the group systemd-journal: it can read the whole journal, and gives a caller the lines of a
run of ours and nothing else.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from typing import Optional

from twitch import listener_user, log_lines, log_packets
from twitch.errors import PacketError
from twitch.log.entries import Entries, Journal
from twitch.log_lines import LEVELS
from twitch.log_packets import BEYOND, EMPTY, END, INVALID, LIVE, LOG, LOST, UNREADABLE, Read, encode_event

# The caller sends its packet right after connecting.
PACKET_TIMEOUT_S = 5
# A packet is sent when it is as long as this, or when there is no further line.
PACKET_BYTES = 32 * 1024
# The limit of the lines that `tail` keeps until the last line is known.
MAX_TAIL_BYTES = 8 * 1024 * 1024
# journald receives Puppet's lines and the verdict by two sockets, and the verdict may overtake lines: after
# the verdict, lines are waited for as long as this, and no longer on a node whose journal is never silent.
# journald tells its readers four times a second.
SETTLE_S = 0.3
# A caller that knows of the end of the run may be ahead of a busy journald. The verdict is waited for as long
# as this; it never comes if conclude was killed.
VERDICT_S = 5

NO_CONNECTION = "standard input is not a connection of puppet-twitch-log.socket"
NO_JOURNAL = "the journal of the node has no files (Storage= in journald.conf)"
DENIED = "the journal of the node cannot be read; puppet-twitch check has the fix"


def main() -> None:
    """Serve the connection on standard input, as the unit hands it over."""
    try:
        peer = socket.socket(fileno=0)
    except OSError as error:
        raise PacketError(NO_CONNECTION) from error
    try:
        with contextlib.suppress(ConnectionError):  # the caller has left
            serve(peer)
    finally:
        _end(peer)


def serve(peer: socket.socket, journal: Optional[Journal] = None) -> None:
    """Answer the question of one caller. Raises `OSError` when the caller has left."""
    _check(peer)
    try:
        question = log_packets.decode_question(_receive(peer))
    except PacketError as error:
        peer.send(encode_event(INVALID, why=str(error)))
        raise
    peer.settimeout(None)  # a caller that takes its time is the caller's own business
    try:
        reader = journal or Journal()
    except OSError as error:
        peer.send(encode_event(UNREADABLE, why=str(error.strerror)))
        return
    with reader:
        Session(peer, reader, question).run()


class Session:
    """The lines for one caller."""

    def __init__(self, peer: socket.socket, reader: Journal, question: Read) -> None:
        self._peer = peer
        self._reader = reader
        self._question = question
        self._entries = Entries(reader, question.run, question.pid)
        self._over = False  # the caller says that the run has ended
        self._poll = select.poll()
        # Before the first entry is read, so that none can come unseen in between.
        self._poll.register(reader, reader.get_events())
        self._poll.register(peer, select.POLLIN)

    def run(self) -> None:
        """Send what was asked for."""
        if not self._entries.begin() or self._entries.next() is None:
            if not self._reader.exists:
                self._event(UNREADABLE, why=NO_JOURNAL)
                return
            if self._reader.denied:
                self._event(UNREADABLE, why=DENIED)
                return
            if self._question.after:
                self._event(LOST)
                return
            self._event(EMPTY)
            if not self._question.follow or not self._first_comes():
                self._event(END)
                return
        elif not self._find_position():
            return
        self._event(LOG, complete=self._entries.complete)
        self._send_all()
        if self._question.follow:
            self._event(LIVE)
            self._follow()
        self._event(END, lines=self._entries.seen)

    def _find_position(self) -> bool:
        """Go before the first line that the caller wants; send why not if there is no such position."""
        after, entries = self._question.after, self._entries
        if after and not entries.complete:
            self._event(LOST)
            return False
        entries.begin()
        if not entries.skip(after):
            self._event(BEYOND, lines=entries.seen)
            return False
        return True

    def _send_all(self) -> None:
        """Send the lines that there are."""
        tail = self._question.tail
        lines = self._wanted()
        if tail is None:
            self._send(lines)
            return
        last: deque[bytes] = deque()
        size = 0
        for line in lines:
            last.append(line)
            size += len(line)
            while len(last) > tail or size > MAX_TAIL_BYTES:
                size -= len(last.popleft())
        self._send(iter(last))

    def _follow(self) -> None:
        """Send lines as they come, until the run has ended and its last line is sent."""
        while not (self._over or self._entries.ended):
            self._wait(None)
            self._send(self._wanted())
        until = time.monotonic() + VERDICT_S
        while not self._entries.ended and (left_s := until - time.monotonic()) > 0:
            self._wait(left_s)
            self._send(self._wanted())
        until = time.monotonic() + SETTLE_S
        while (left_s := until - time.monotonic()) > 0 and self._wait(left_s):
            self._send(self._wanted())
        self._send(self._wanted())

    def _first_comes(self) -> bool:
        """Wait for the first line of a run that has just been asked for; return False if there is none."""
        while not self._over:
            self._wait(None)
            if self._has_lines():
                return True
        self._wait(SETTLE_S)
        return self._has_lines()

    def _has_lines(self) -> bool:
        """Return whether there is a line, and go before the first one."""
        return self._entries.begin() and self._entries.next() is not None and self._entries.begin()

    def _wait(self, seconds: Optional[float]) -> bool:
        """Wait for entries, or for the caller; return False if nothing has come in this time."""
        ready = self._poll.poll(None if seconds is None else seconds * 1000)
        if any(descriptor == self._peer.fileno() for descriptor, _ in ready):
            if self._peer.recv(1):
                raise PacketError("more than one packet")
            self._over = True
            self._poll.unregister(self._peer)
        self._reader.process()
        return bool(ready)

    def _wanted(self) -> Iterator[bytes]:
        """Yield the lines from here to the present end that have the level."""
        worst = LEVELS.index(self._question.level)
        while (line := self._entries.next()) is not None:
            if line.priority <= worst:
                yield log_lines.encode(line)

    def _send(self, lines: Iterator[bytes]) -> None:
        """Send lines, many in a packet."""
        packet = bytearray()
        for line in lines:
            if packet and len(packet) + len(line) >= PACKET_BYTES:
                self._peer.send(packet)
                packet.clear()
            packet += b"\n" + line if packet else line
        if packet:
            self._peer.send(packet)

    def _event(self, name: str, **fields: object) -> None:
        self._peer.send(encode_event(name, **fields))


def _check(peer: socket.socket) -> None:
    """Raise `PacketError` unless the peer is root or the listener.

    The mode of the socket allows the same two; this check holds even if that mode was changed.
    """
    if peer.family != socket.AF_UNIX or peer.type != socket.SOCK_SEQPACKET:
        raise PacketError(NO_CONNECTION)
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (0, listener_user.uid()):
        raise PacketError(f"uid {uid} may not read logs; only root and {listener_user.USER} may")


def _receive(peer: socket.socket) -> bytes:
    peer.settimeout(PACKET_TIMEOUT_S)
    try:
        return peer.recv(log_packets.MAX_QUESTION_BYTES + 1)
    except OSError as error:
        raise PacketError(f"no packet came within {PACKET_TIMEOUT_S} s") from error


def _end(peer: socket.socket) -> None:
    """End the connection: PID 1 holds a copy of it, so only shutdown() gives the caller its end-of-file."""
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)
