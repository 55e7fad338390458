"""Root's side of the run socket: read one packet, answer it, and for a run become Puppet.

The process that answers is the process that turns into Puppet, so the run is the main process of
a unit of its own: systemd has its pid and its exit status, journald its lines, and nothing of
puppet-twitch stays between them.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import signal
import socket
import struct
from typing import Union

from twitch import messages, runs
from twitch.errors import PacketError, PuppetError, TwitchError
from twitch.messages import Answer
from twitch.root import puppet, turn
from twitch.root.node import Node

# The listener's user and group; a site with other names says so in a drop-in for this unit.
USER = os.environ.get("PUPPET_TWITCH_USER", "twitch")
GROUP = os.environ.get("PUPPET_TWITCH_GROUP", "twitch")

# The listener sends its packet right after connecting; a peer that is slower than this holds one
# of the socket's sixteen places for nothing.
PACKET_TIMEOUT_S = 5

NO_CONNECTION = "standard input is not a connection of puppet-twitch-run.socket"


def main() -> None:
    """Serve the connection on standard input, as the unit hands it over."""
    try:
        peer = socket.socket(fileno=os.dup(0))
    except OSError as error:
        raise PacketError(NO_CONNECTION) from error
    store = runs.Store()
    try:
        question = _receive(peer)
    except PacketError as error:
        _send(peer, Answer("invalid", reason=str(error)))
        raise
    if isinstance(question, messages.Run):
        _run(peer, store, question)
    else:
        _status(peer, store)


# ---- the packet


def _receive(peer: socket.socket) -> Union[messages.Run, messages.Status]:
    if peer.family != socket.AF_UNIX or peer.type != socket.SOCK_SEQPACKET:
        raise PacketError(NO_CONNECTION)
    # The mode of the socket says so too; this holds when somebody has changed the mode.
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (0, _uid(USER)):
        raise PacketError(f"uid {uid} may not ask; only root and {USER} may")
    peer.settimeout(PACKET_TIMEOUT_S)
    try:
        packet = peer.recv(messages.MAX_PACKET_BYTES + 1)
    except OSError as error:
        raise PacketError(f"no packet came within {PACKET_TIMEOUT_S} s") from error
    return messages.decode_question(packet)


def _uid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return 0  # no such user: root only


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return 0


def _send(peer: socket.socket, answer: Answer) -> None:
    """Answer and hang up.

    PID 1 holds a copy of the connection until the unit ends, so only shutdown() gives the other
    side its end-of-file. A listener that has gone misses nothing: the run is on record.
    """
    try:
        peer.sendall(messages.encode(answer))
        peer.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    peer.close()


# ---- what it may ask


def _status(peer: socket.socket, store: runs.Store) -> None:
    from twitch.root import status  # YAML and dates, which no run needs

    try:
        with contextlib.suppress(OSError):  # a full disk keeps a verdict for later, not the status
            turn.settle(store)
        answer = Answer("status", status=status.look(Node(store)))
    except Exception as error:
        answer = _cannot(error)
    _send(peer, answer)


def _run(peer: socket.socket, store: runs.Store, question: messages.Run) -> None:
    run = os.environ.get("INVOCATION_ID", "")
    try:
        if not messages.RUN_ID.fullmatch(run):
            raise TwitchError("no INVOCATION_ID; the handler is started by puppet-twitch-run.socket")
        node = Node(store)
        store.prepare(_gid(GROUP))
        command = _command(node, run, question)
        answer = turn.decide(node, run, question)
    except Exception as error:
        answer = _cannot(error)
    _send(peer, answer)
    _log(run, question, answer)
    if answer.run != run:
        return
    if answer.kind == "queued":
        try:
            refused = turn.wait(node, run, question)
        except OSError as error:
            refused = f"its turn could not be taken: {error}"
        if refused is not None:
            store.write({"run": run, **(store.read(run) or {}), "reason": refused})
            return
    _become(store, run, command, node.environment)


def _cannot(error: Exception) -> Answer:
    """Whatever goes wrong here, the caller gets an answer; what nobody has foreseen goes to the journal."""
    if isinstance(error, (TwitchError, OSError)):
        return Answer("cannot", reason=str(error))
    import traceback  # 2 ms

    traceback.print_exception(type(error), error, error.__traceback__)
    return Answer("cannot", reason="internal error; journalctl -t puppet-twitch has the traceback")


def _command(node: Node, run: str, question: messages.Run) -> list[str]:
    options = puppet.Options(question.noop, question.tags, question.environment)
    site, logdest = puppet.site_options(os.environ), node.settings.logdest
    log = node.store.log_path(run)
    if node.config.command == "agent":
        return puppet.agent_command(node.puppet, run, log, logdest=logdest, site=site, options=options)
    manifest = str(node.config.manifest)
    if not os.path.exists(manifest):
        raise PuppetError(f"[puppet] manifest: {manifest} does not exist")
    report = node.store.report_path(run)
    return puppet.apply_command(
        node.puppet, manifest, log, report, logdest=logdest, site=site, options=options
    )


def _become(store: runs.Store, run: str, command: list[str], environment: dict[str, str]) -> None:
    """Turn into Puppet. Every other descriptor of ours closes itself on exec (PEP 446)."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    # Python ignores these two; SIGPIPE stays so, as it is in puppet.service (IgnoreSIGPIPE=).
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execve(command[0], command, environment)
    except OSError as error:
        reason = f"{command[0]} cannot be executed: {error.strerror}"
        store.write({"run": run, **(store.read(run) or {}), "reason": reason})
        raise PuppetError(reason) from error


def _log(run: str, question: messages.Run, answer: Answer) -> None:
    from twitch.root import journal  # 22 ms, which the caller need not wait for

    chosen = [f"tags={','.join(question.tags)}"] if question.tags else []
    chosen += [f"environment={question.environment}"] if question.environment else []
    chosen += [name for name in ("noop", "queue") if getattr(question, name)]
    options = " ".join(chosen)
    said = {"disabled": "Puppet is disabled", "cannot": f"cannot: {answer.reason}"}.get(
        answer.kind, f"{answer.kind} {answer.run or ''}".strip()
    )
    journal.event(
        journal.ASKED,
        f"{question.caller} at {question.client} asked for a run{f' ({options})' if options else ''}: {said}",
        run=answer.run,
        caller=question.caller,
        client=question.client,
        options=options or None,
        answer=answer.kind,
        reason=answer.reason,
    )
