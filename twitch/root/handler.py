"""Root's side of the run socket: read one packet, answer it, and for a run become Puppet.

The process that answers is the process that becomes Puppet, so the run is the main process of a unit
of its own: systemd has its pid and its exit status, journald its lines, and no process of puppet-twitch
stays between them.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, Callable, Optional, Union

from twitch import listener_user
from twitch.errors import ConfigError, PacketError, PuppetError, TwitchError
from twitch.messages import (
    CANNOT,
    DISABLED,
    INVALID,
    METRICS,
    MISCONFIGURED,
    QUEUED,
    STATUS,
    Answer,
    Cancel,
    Disable,
    Enable,
    Metrics,
    Run,
    Status,
)
from twitch.records import RUN_ID
from twitch.root import begun, journal, peer_access, puppet, turn, unit
from twitch.root.claims import Claim
from twitch.root.node import Node
from twitch.root.ownership import NotOurs
from twitch.root.process import start_time
from twitch.root.store import Store


def main() -> None:
    """Serve the connection on standard input, as the unit hands it over."""
    try:
        peer = socket.socket(fileno=os.dup(0))
    except OSError as error:
        raise PacketError(peer_access.NO_CONNECTION) from error
    try:
        question = peer_access.receive(peer)
    except PacketError as error:
        peer_access.send(peer, Answer(INVALID, reason=str(error)))
        raise
    store = Store()
    try:
        store.trust()
    except NotOurs as error:
        print(f"<3>{error}", file=sys.stderr)
        peer_access.send(peer, Answer(CANNOT, reason=str(error)))
        return
    HANDLERS[type(question)](peer, store, question)


# ---- the kinds of questions


def _status(peer: socket.socket, store: Store, question: Status) -> None:
    from twitch.root import status  # YAML and dates, which no run needs

    def answer(node: Node, unrecorded: Optional[turn.Unrecorded]) -> Answer:
        return Answer(STATUS, status=status.look(node, unrecorded))

    _look(peer, store, answer)


def _metrics(peer: socket.socket, store: Store, question: Metrics) -> None:
    from twitch import metrics, stamps
    from twitch.root import figures

    def answer(node: Node, unrecorded: Optional[turn.Unrecorded]) -> Answer:
        sources = figures.sources(node)
        stamp = stamps.stamp(sources)  # before the look: a change meanwhile makes it outdated
        found = figures.look(node)
        if stamp is None or not figures.is_steady(node, found):
            return Answer(METRICS, metrics=metrics.text(found))
        return Answer(METRICS, metrics=metrics.text(found), stamp=stamp, stamped=sources)

    _look(peer, store, answer)


def _look(
    peer: socket.socket, store: Store, answer_of: Callable[[Node, Optional[turn.Unrecorded]], Answer]
) -> None:
    """Answer a question about the node, which becomes no run."""
    from twitch.root import memory

    unrecorded = None
    memory.limit()
    try:
        try:
            turn.settle(store)
        except turn.Unrecorded as error:  # it delays a verdict, not the status
            unrecorded = error
            print(f"<4>{error}", file=sys.stderr)
        answer = answer_of(Node(store), unrecorded)
    except Exception as error:
        from twitch.texts import one_line

        answer = _cannot(error)
        # Not every caller may read the reason, so it goes to the journal: at most once a second, because the
        # listener remembers the answer (root_client.py). On one line, because it may quote Puppet.
        print(f"<4>status: {one_line(str(answer.reason))}", file=sys.stderr)
    peer_access.send(peer, answer)


def _run(peer: socket.socket, store: Store, question: Run) -> None:
    run = os.environ.get("INVOCATION_ID", "")
    unit.log_every_line()  # before anything is logged, also of an earlier run (settle): journald looks once
    try:
        if not RUN_ID.fullmatch(run):
            raise TwitchError("no INVOCATION_ID; the handler is started by puppet-twitch-run.socket")
        node = Node(store)
        store.prepare(listener_user.gid())
        command = _command(node, run, question)
        answer = turn.decide(node, run, question)
    except Exception as error:
        answer = _cannot(error)
    peer_access.send(peer, answer, run=run)
    _log(run, question, answer)
    if answer.run != run:
        return
    if answer.kind == QUEUED:
        import signal  # noqa: F401  # for _become: now, because an upgrade may replace it in the meantime

        unit.tell(f"Puppet run {run} waits in the queue")
        try:
            turn.wait(node, run, question)
        except turn.NotAttempted as error:
            store.note(run, str(error))
            return
        except (OSError, turn.Unrecorded) as error:
            store.note(run, f"its turn could not be taken: {error}")
            return
    unit.tell(f"Puppet run {run}")
    begun.keep(store, Claim(run, os.getpid(), start_time(os.getpid()) or 0))
    _become(store, run, command, node.environment)


def _disabling(peer: socket.socket, store: Store, question: Union[Disable, Enable]) -> None:
    from twitch.root import disabling, memory

    memory.limit()
    try:
        answer = disabling.answer(Node(store), question, peer_access.peer_uid(peer))
    except Exception as error:
        answer = _cannot(error)
    peer_access.send(peer, answer)
    disabling.log(question, answer)


def _cancel(peer: socket.socket, store: Store, question: Cancel) -> None:
    from twitch.root import cancel, memory  # which no run needs

    memory.limit()
    foreign = None
    try:
        answer, foreign = cancel.cancel(store, question)
    except Exception as error:
        answer = _cannot(error)
    peer_access.send(peer, answer)
    cancel.log(question, answer)
    if foreign:
        cancel.end(foreign, question)  # after the answer, for which a caller waits


# The function for each kind in messages.QUESTIONS. A kind that is missing here is an error, never a status.
HANDLERS: dict[type, Callable[[socket.socket, Store, Any], None]] = {
    Run: _run,
    Status: _status,
    Metrics: _metrics,
    Disable: _disabling,
    Enable: _disabling,
    Cancel: _cancel,
}


def _cannot(error: Exception) -> Answer:
    """Return the answer for any error, since the caller must get one; log an unforeseen error."""
    if isinstance(error, ConfigError):
        return Answer(MISCONFIGURED, reason=str(error))
    if isinstance(error, (TwitchError, OSError)):
        return Answer(CANNOT, reason=str(error))
    import traceback  # 2 ms

    traceback.print_exception(type(error), error, error.__traceback__)
    return Answer(CANNOT, reason="internal error; journalctl -t puppet-twitch _UID=0 has the traceback")


# ---- the run


def _command(node: Node, run: str, question: Run) -> list[str]:
    site, logdest = puppet.site_options(os.environ), node.settings.logdest
    if node.config.command == "agent":
        return puppet.agent_command(node.puppet, run, logdest=logdest, site=site, options=question.options)
    manifest = str(node.config.manifest)
    if not os.path.exists(manifest):
        raise PuppetError(f"[puppet] manifest: {manifest} does not exist")
    report = node.report_path(run)
    return puppet.apply_command(
        node.puppet, manifest, report, logdest=logdest, site=site, options=question.options
    )


def _become(store: Store, run: str, command: list[str], environment: dict[str, str]) -> None:
    """Become Puppet, with /dev/null as its input; our other descriptors close on exec (PEP 446)."""
    import signal  # 0.7 ms, for which no caller waits here

    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    # Python ignores SIGXFSZ and SIGPIPE, and Puppet would inherit that. SIGPIPE stays ignored, as in
    # puppet.service (IgnoreSIGPIPE=).
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execve(command[0], command, environment)
    except OSError as error:
        reason = f"{command[0]} cannot be executed: {error.strerror}"
        store.note(run, reason)
        raise PuppetError(reason) from error


def _log(run: str, question: Run, answer: Answer) -> None:
    chosen = [f"tags={','.join(question.tags)}"] if question.tags else []
    chosen += [f"environment={question.environment}"] if question.environment else []
    chosen += [name for name in ("noop", "queue") if getattr(question, name)]
    chosen += [f"label={question.label}"] if question.label else []
    options = " ".join(chosen)
    outcome = {
        DISABLED: "Puppet is disabled",
        CANNOT: f"cannot: {answer.reason}",
        MISCONFIGURED: f"misconfigured: {answer.reason}",
    }.get(answer.kind, f"{answer.kind} {answer.run or ''}".strip())
    caller = f"{question.caller} at {question.client}"
    journal.event(
        journal.ASKED,
        f"{caller} asked for a run{f' ({options})' if options else ''}: {outcome}",
        run=answer.run,
        caller=question.caller,
        client=question.client,
        options=options or None,
        label=question.label,
        answer=answer.kind,
        reason=answer.reason,
    )
