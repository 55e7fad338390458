"""Ask root over the run socket, one question at a time."""

from __future__ import annotations

import socket

from twitch import messages
from twitch.errors import ConfigError, no_answer
from twitch.messages import MISCONFIGURED, Answer, Question

# As in listener/root_client.py: the first answer after a boot waits for `puppet config print`.
PATIENCE_S = 30.0


def ask(question: Question, patience_s: float = PATIENCE_S) -> Answer:
    """Return root's answer; raises `RootUnavailable`, or `ConfigError` if root finds the file invalid."""
    answer = _ask(question, patience_s)
    if answer.kind == MISCONFIGURED:
        raise ConfigError(answer.reason or "the configuration is invalid; see puppet-twitch check")
    return answer


def _ask(question: Question, patience_s: float) -> Answer:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as root:
        root.settimeout(patience_s)
        try:
            root.connect(messages.RUN_SOCKET)
            # A handler that has ended must not end this process by SIGPIPE, which terminal.py has restored.
            root.send(messages.encode(question), socket.MSG_NOSIGNAL)
            packet = root.recv(messages.MAX_ANSWER_BYTES + 1)
        except socket.timeout as error:  # no TimeoutError before Python 3.10
            raise no_answer(TimeoutError(), patience_s) from error
        except OSError as error:
            raise no_answer(error, patience_s) from error
    return messages.received_answer(packet)
