"""One packet of the run socket, and the packet of the answer: which process may ask, and in whose name."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Optional

from twitch import listener_user, messages
from twitch.errors import PacketError
from twitch.messages import Answer, Question

# The listener sends its packet right after connecting. A slower peer would occupy one of the socket's
# sixteen places.
PACKET_TIMEOUT_S = 5
# A peer that may not ask must not occupy one so long.
DISCARD_TIMEOUT_S = 0.1

NO_CONNECTION = "standard input is not a connection of puppet-twitch-run.socket"


def receive(peer: socket.socket) -> Question:
    """Return the question of a peer; raises `PacketError` if it is none, or the peer may not ask it."""
    if peer.family != socket.AF_UNIX or peer.type != socket.SOCK_SEQPACKET:
        raise PacketError(NO_CONNECTION)
    # The mode of the socket allows the same two; this check holds even if that mode was changed.
    uid = peer_uid(peer)
    if uid not in (0, listener_user.uid()):
        _discard(peer)
        raise PacketError(f"uid {uid} may not ask; only root and {listener_user.USER} may")
    peer.settimeout(PACKET_TIMEOUT_S)
    try:
        packet = peer.recv(messages.MAX_PACKET_BYTES + 1)
    except OSError as error:
        raise PacketError(f"no packet came within {PACKET_TIMEOUT_S} s") from error
    question = messages.decode_question(packet)
    # A listener that was taken over can ask in the name of any caller, but never in that of a person, whose
    # name only the command line of root can know (cli/person.py).
    if uid != 0 and _of_a_person(question):
        raise PacketError(f"uid {uid} may not ask in the name of a user of this node; only root may")
    return question


def _discard(peer: socket.socket) -> None:
    """Read the packet of a peer that may not ask.

    If a socket is closed while it has a packet that was not read, its peer may get ECONNRESET instead of the
    answer (seen with Linux 6.18; unix(7) does not say so).
    """
    peer.settimeout(DISCARD_TIMEOUT_S)
    with contextlib.suppress(OSError):
        peer.recv(1)  # the rest of a packet goes with it


def _of_a_person(question: Question) -> bool:
    """Return whether a question is asked in the name of a person at the node."""
    caller, client = getattr(question, "caller", ""), getattr(question, "client", "")
    return client == messages.LOCAL or any(word.startswith(messages.USER) for word in caller.split(" "))


def peer_uid(peer: socket.socket) -> int:
    """Return the uid of the process at the other end."""
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def send(peer: socket.socket, answer: Answer, *, run: Optional[str] = None) -> None:
    """Send the answer and end the connection, unless it is about the run that this process becomes.

    PID 1 holds a copy of the connection until the unit ends, so only shutdown() gives the listener its
    end-of-file. For a run that is left to conclude and to PID 1, so that the listener hears of the end.
    A listener that has ended is no error, because the run is on record.
    """
    try:
        peer.sendall(messages.encode(answer))
        if answer.run is None or answer.run != run:
            peer.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    peer.close()
