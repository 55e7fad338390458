"""A node for the drivers (Ansible, Bolt): a real listener, and a thread in the place of root.

The label of a request says what becomes of its run, so that one play or one task after the other meets every
verdict on one node.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Optional

from tests.unit.api_under_test import FakeRoot, node_status
from tests.unit.fake_node import TWITCH_GID, TWITCH_UID, FakeNode
from tests.unit.listening import start, stopped
from tests.unit.pki import PKI
from twitch.holds import Hold, together
from twitch.messages import Answer, Question, Run
from twitch.node_status import DISABLED
from twitch.records import BUSY, FINISHED, RUNNING, Record
from twitch.resources import Event, Resource

SITE = "/etc/puppet/site.pp"
GRANTS = """\
[access]
anonymous = status
token:deploy = trigger noop tags environment=test status logs
token:small = trigger status
token:blind = trigger
cert:operator = trigger noop status
"""

# A run takes so long. In the real world it is never over before the listener has read root's answer.
RUN_S = 0.05

# label -> what becomes of the run
ENDS: dict[str, dict[str, Any]] = {
    "unchanged": {"verdict": "unchanged"},
    "changed": {"verdict": "changed", "counts": {"total": 12, "changed": 3, "failed": 0}},
    "failed": {
        "verdict": "failed",
        "counts": {"total": 12, "changed": 1, "failed": 1},
        "reason": "Package[nginx] failed",
        "error": "Execution of apt-get returned 100",
    },
    "interrupted": {"verdict": "interrupted", "reason": "killed by SIGTERM"},
    "not-attempted": {"verdict": "not attempted", "reason": "the certificate is not signed"},
    "busy": {"verdict": "busy"},
}
LATE = "late"  # goes on for ever

MOTD = Resource(
    "File[/etc/motd]", "changed", corrective=False, file=SITE, line=12,
    events=(Event("content", "success", "content changed"),),
)  # fmt: skip


class AnsweringNode:
    """A node with grants for some tokens, by their names. `asked` are the requests for runs.

    `refusal` is what root answers to all of them: BUSY or DISABLED. The listener remembers such an answer
    for a second, so this cannot depend on the label.
    """

    def __init__(
        self, node: FakeNode, listening: socket.socket, *, pki: Optional[PKI] = None, refusal: str = ""
    ) -> None:
        self._refusal = refusal
        self.port = listening.getsockname()[1]
        self.tokens: dict[str, str] = {}
        self._node = node
        path = os.fspath(node.run / "puppet-twitch/run.sock")
        self._root = FakeRoot(path)
        os.chown(path, TWITCH_UID, -1)
        self._root.answer_to = self._answer
        self._runs = 0
        self.process: subprocess.Popen[bytes]
        node.store.prepare(TWITCH_GID)
        self._tls = pki is not None
        self.allow_status()
        self._write_tokens()
        self.process = start(node, listening, "--idle-exit", "600", before=_credentials(node, pki))

    @property
    def asked(self) -> list[Run]:
        """Return the requests for runs."""
        return [question for question in self._root.asked if isinstance(question, Run)]

    def forbid_status(self) -> None:
        """Let anonymous callers do nothing, and `token:blind` start runs only."""
        self._configure(GRANTS.replace("anonymous = status", "anonymous ="))

    def allow_status(self) -> None:
        """End that."""
        self._configure(GRANTS)

    def _configure(self, grants: str) -> None:
        self._node.configure(grants + ("[tls]\nenabled = yes\n" if self._tls else ""))

    def close(self) -> None:
        """Stop the listener and the thread."""
        assert stopped(self.process)[0] == 0
        self._root.close()

    def _write_tokens(self) -> None:
        lines = []
        for name in ("deploy", "small", "blind"):
            self.tokens[name] = name[0] * 43  # the same on each node
            lines.append(f"{name} {hashlib.sha256(self.tokens[name].encode()).hexdigest()}")
        path = self._node.etc / "puppet-twitch/tokens"
        path.write_text("\n".join((*lines, "")))
        os.chown(path, 0, TWITCH_GID)
        path.chmod(0o640)

    def _answer(self, question: Question) -> Answer:
        hold = Hold("token:deploy", "192.0.2.9", "CHG-7 kernel", time.time())
        disabled = node_status(DISABLED, disabled=together((hold,)))
        if not isinstance(question, Run):
            return Answer("status", status=disabled if self._refusal == DISABLED else node_status())
        if self._refusal == DISABLED:
            return Answer("disabled", reason=hold.shown(), status=disabled)
        return Answer("busy") if self._refusal == BUSY else self._run(question)

    def _run(self, question: Run) -> Answer:
        self._runs += 1
        run = f"{self._runs:032x}"
        begun = Record(
            run, RUNNING, time.time(), caller=question.caller, client=question.client,
            label=question.label, started=time.time(),
        )  # fmt: skip
        self._node.store.write(begun)
        end = ENDS.get(question.label or "", ENDS["unchanged"])
        if question.noop:
            end = {"verdict": "unchanged", "noop": True, "would_change": 2, "noop_pending": True}
            end["resources"] = (MOTD._replace(outcome="would change"),)
        elif end["verdict"] == "changed":
            end = {**end, "resources": (MOTD,)}
        if question.label != LATE:
            common = {"ended": time.time(), "duration_s": 2.5, "environment": "production", "noop": False}
            ended = begun._replace(state=FINISHED, **{**common, **end})
            threading.Timer(RUN_S, self._end, [ended]).start()
        return Answer("started", run=run)

    def _end(self, record: Record) -> None:
        self._node.store.write(record)
        self._root.end(record.run)


def _credentials(node: FakeNode, pki: Optional[PKI]) -> str:
    """Return what the shell of the listener has to do for TLS."""
    if pki is None:
        return ""
    directory: Path = pki.hand_over(node.etc / "credentials", *pki.certificate("localhost"))
    for path in (directory, *directory.iterdir()):
        os.chown(path, TWITCH_UID, -1)
    return f"export CREDENTIALS_DIRECTORY=/etc/{directory.name};"
