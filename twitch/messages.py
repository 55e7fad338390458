"""The packets between the listener and root: their form, and whether one is well-formed.

One JSON object each way over SOCK_SEQPACKET. Root reads questions, so each field of a question is
matched whole against what Puppet is known to accept; any other key is an error. No behaviour lives here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional, Union

from twitch.errors import NO_ANSWER, PacketError, RootUnavailable
from twitch.fields import FieldError, Fields
from twitch.records import RUN_ID, Options

if TYPE_CHECKING:
    from twitch.node_status import NodeStatus

RUN_SOCKET = "/run/puppet-twitch/run.sock"

# Fifty tags of a hundred characters and a name fit easily; the kernel would carry about 212,900.
MAX_PACKET_BYTES = 16 * 1024
# A status with as many holds as a lock may have (MAX_HOLDS), each with the longest reason.
MAX_ANSWER_BYTES = 192 * 1024

# The patterns of values are texts, which Python compiles at their first use: one takes up to 0.5 ms, and a
# process uses few of them.

MAX_TAGS = 50
# Puppet's rule is [[:alnum:]_][[:alnum:]_:.-]* (lib/puppet/util/tagging.rb); ASCII and a length
# are ours. The first character cannot be a hyphen, so no tag can pose as an option.
TAG = r"[A-Za-z0-9_][A-Za-z0-9_:.-]{0,99}"
# puppetserver rejects an environment that is not \w+ with 400, after the agent has done its pluginsync.
ENVIRONMENT = r"[A-Za-z0-9_]{1,64}"
TAGS_FORM = f"up to {MAX_TAGS} tags of letters, digits and _:.- between commas"
ENVIRONMENT_FORM = "a name of letters, digits and _"
LABEL_FORM = "1 to 40 letters, digits and ._:-"
# A person at the command line of the node: the beginning of the name, and the address. Root accepts both from
# root alone, so that the listener cannot pose as a person (root/peer_access.py).
USER = "user:"
LOCAL = "local"
# Not that of holds.UNKNOWN: a hold with this name would be the lock of another tool, which has no end.
CALLER = r"(?!unknown\Z)[!-~]{1,256}( [!-~]{1,256}){0,7}"
# A caller's own name for a run, such as the number of a ticket. For the journal, the record and answers only.
LABEL = r"[A-Za-z0-9._:-]{1,40}"
CLIENT = rf"[0-9A-Fa-f:.]{{2,45}}|{LOCAL}"
# Why Puppet is disabled, as Puppet prints it on a line: no control characters, nothing that changes the
# direction of writing (as texts.CONTROL), no lone surrogates, no space at an end.
REASON = r"(?! )[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]{1,200}(?<! )"
# Epoch seconds with at most eleven digits, which is until the year 5138.
MAX_UNTIL = 10**11 - 1

# In the place of an id: the run under way.
CURRENT = "current"
CANCELLABLE = rf"{RUN_ID.pattern}|{CURRENT}"


# ---- questions


class Run(NamedTuple):
    """A request to run Puppet. `caller` and `client` are for the journal and the record."""

    caller: str
    client: str  # the address, or LOCAL
    named: bool = False  # the caller has a line with grants in [access]: no cooldown
    noop: bool = False
    tags: tuple[str, ...] = ()
    environment: Optional[str] = None
    queue: bool = False  # wait in the queue if Puppet is busy
    label: Optional[str] = None

    @property
    def options(self) -> Options:
        """What the caller has chosen about the run."""
        return Options(self.noop, self.tags, self.environment)


class Status(NamedTuple):
    """The question what Puppet is doing, and what became of its last run."""


class Metrics(NamedTuple):
    """The question for the metrics of the node."""


class Disable(NamedTuple):
    """A request to disable Puppet."""

    caller: str
    client: str
    reason: str
    until: Optional[int] = None  # epoch seconds; None, without an end, is for root's command line only
    force: bool = False  # also where another tool has disabled Puppet


class Enable(NamedTuple):
    """A request to lift the hold of a caller; with `force` all of them, and the lock of another tool."""

    caller: str
    client: str
    force: bool = False


class Cancel(NamedTuple):
    """A request to stop a run. `caller` and `client` are for the journal and the record."""

    run: str  # its id, or `current`: the run under way, ours or not
    caller: str
    client: str
    force: bool = False  # also a run that puppet-twitch has not started


Question = Union[Run, Status, Metrics, Disable, Enable, Cancel]


def _read_run(fields: dict[str, object]) -> Run:
    _only(fields, Run._fields)
    environment, label = fields.get("environment"), fields.get("label")
    return Run(
        caller=_matching(fields.get("caller"), "caller", CALLER),
        client=_matching(fields.get("client"), "client", CLIENT),
        named=_boolean(fields.get("named", False), "named"),
        noop=_boolean(fields.get("noop", False), "noop"),
        tags=_tags(fields.get("tags", [])),
        environment=None if environment is None else _matching(environment, "environment", ENVIRONMENT),
        queue=_boolean(fields.get("queue", False), "queue"),
        label=None if label is None else _matching(label, "label", LABEL),
    )


def _read_status(fields: dict[str, object]) -> Status:
    _only(fields, Status._fields)
    return Status()


def _read_metrics(fields: dict[str, object]) -> Metrics:
    _only(fields, Metrics._fields)
    return Metrics()


def _read_disable(fields: dict[str, object]) -> Disable:
    _only(fields, Disable._fields)
    until = fields.get("until")
    if until is not None and (type(until) is not int or not 0 < until <= MAX_UNTIL):
        raise PacketError("'until' must be null or epoch seconds")
    return Disable(
        caller=_matching(fields.get("caller"), "caller", CALLER),
        client=_matching(fields.get("client"), "client", CLIENT),
        reason=_matching(fields.get("reason"), "reason", REASON),
        until=until if isinstance(until, int) else None,
        force=_boolean(fields.get("force", False), "force"),
    )


def _read_enable(fields: dict[str, object]) -> Enable:
    _only(fields, Enable._fields)
    return Enable(
        caller=_matching(fields.get("caller"), "caller", CALLER),
        client=_matching(fields.get("client"), "client", CLIENT),
        force=_boolean(fields.get("force", False), "force"),
    )


def _read_cancel(fields: dict[str, object]) -> Cancel:
    _only(fields, Cancel._fields)
    return Cancel(
        run=_matching(fields.get("run"), "run", CANCELLABLE),
        caller=_matching(fields.get("caller"), "caller", CALLER),
        client=_matching(fields.get("client"), "client", CLIENT),
        force=_boolean(fields.get("force", False), "force"),
    )


class Kind(NamedTuple):
    """A kind of question: its type, and the function that makes a question out of a packet's fields."""

    type: type[Question]
    read: Callable[[dict[str, object]], Question]


# Each kind has an entry in HANDLERS of root/handler.py as well; a test compares the two.
QUESTIONS = {
    "run": Kind(Run, _read_run),
    "status": Kind(Status, _read_status),
    "metrics": Kind(Metrics, _read_metrics),
    "disable": Kind(Disable, _read_disable),
    "enable": Kind(Enable, _read_enable),
    "cancel": Kind(Cancel, _read_cancel),
}


# ---- answers

STARTED = "started"  # `run` is the run that begins now
QUEUED = "queued"  # `run` waits, for this caller or for an equal request before it
BUSY = "busy"  # Puppet is running; `run`, if it is one of ours; `status` with its pid and its beginning
FULL = "full"  # Puppet is running and the queue is taken, by `run`
# `reason`, if anybody gave one; `status` with the holds. To a Disable also `run` and `status.pid` of a run
# that goes on.
DISABLED = "disabled"
ENABLED = "enabled"  # to an Enable: nothing disables Puppet any more
HELD = "held"  # `reason` and `status`: others have disabled Puppet, so it stays as it is without `force`
COOLDOWN = "cooldown"  # `retry_after_s`
CANNOT = "cannot"  # `reason`: Puppet cannot be started, or asked
MISCONFIGURED = "misconfigured"  # `reason`: root finds the configuration invalid, so nothing runs
STATUS = "status"  # `status`
METRICS = "metrics"  # `metrics`
INVALID = "invalid"  # `reason`: the packet was not understood
# To Cancel, besides CANNOT, MISCONFIGURED and INVALID:
CANCELLED = "cancelled"  # the run is told to stop: `run`, or of one that is not ours `status` with its pid
ENDED = "ended"  # `run` has ended before
FOREIGN = "foreign"  # the run under way is not ours: `status`; `reason`, if force would not help
NO_RUN = "no run"  # there is no such run, or none is under way
CANCEL_ANSWERS = (CANCELLED, ENDED, FOREIGN, NO_RUN)
ANSWERS = (
    *(STARTED, QUEUED, BUSY, FULL, DISABLED, COOLDOWN, CANNOT, MISCONFIGURED, STATUS, METRICS, INVALID),
    *(ENABLED, HELD),
    *CANCEL_ANSWERS,
)


class Answer(NamedTuple):
    """Root's answer; each of ANSWERS says which fields come with it."""

    kind: str
    run: Optional[str] = None
    reason: Optional[str] = None
    retry_after_s: Optional[int] = None
    status: Optional[NodeStatus] = None
    metrics: Optional[str] = None  # as twitch/metrics.py writes them: the listener does not read them
    # With `metrics`: they hold as long as these directories and files are as they were (twitch/stamps.py).
    stamp: Optional[str] = None
    stamped: Optional[tuple[str, ...]] = None


# ---- packets


def encode(message: Union[Question, Answer]) -> bytes:
    """Return the packet for a message; ASCII only, whatever a reason contains."""
    fields: dict[str, object] = dict(message._asdict())
    if isinstance(message, Answer):
        # Without what is None: a listener of an older version, which goes on while a package is upgraded,
        # accepts no key that it does not know.
        fields = {name: value for name, value in fields.items() if value is not None}
        if message.status:
            fields["status"] = message.status.to_json()
    else:
        if fields.get("label", "") is None:  # which version 1.0.0 does not know
            del fields["label"]
        fields["ask"] = next(name for name, kind in QUESTIONS.items() if type(message) is kind.type)
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def decode_question(packet: bytes) -> Question:
    """Return the question in a packet; raises `PacketError` naming what is wrong with it."""
    fields = _object(packet, MAX_PACKET_BYTES)
    kind = QUESTIONS.get(str(fields.pop("ask", None)))
    if kind is None:
        raise PacketError(f"'ask' must be {' or '.join(map(repr, QUESTIONS))}")
    return kind.read(fields)


def decode_answer(packet: bytes) -> Answer:
    """Return the answer in a packet; raises `PacketError` if it is not one."""
    values = _object(packet, MAX_ANSWER_BYTES)
    _only(values, Answer._fields)
    if values.get("kind") not in ANSWERS:
        raise PacketError("'kind' is not one of the answers")
    try:
        fields = Fields(values)
        status = fields.fields("status")
        if status:
            from twitch import node_status  # 1.4 ms, which no run needs
        answer = Answer(
            kind=fields.text("kind"),
            run=fields.optional_text("run"),
            reason=fields.optional_text("reason"),
            retry_after_s=fields.optional_integer("retry_after_s"),
            status=node_status.from_json(status) if status else None,
            metrics=fields.optional_text("metrics"),
            stamp=fields.optional_text("stamp"),
            stamped=fields.optional_texts("stamped"),
        )
    except FieldError as error:
        raise PacketError(str(error)) from error
    if answer.run is not None or answer.kind in (STARTED, QUEUED):
        _matching(answer.run, "run", RUN_ID.pattern)
    return answer


def received_answer(packet: bytes) -> Answer:
    """Return the answer that was received over the run socket; raises `RootUnavailable` if it is none."""
    if not packet:
        # End-of-file: systemd refused the connection (MaxConnections=), or the handler was killed.
        raise RootUnavailable(NO_ANSWER)
    try:
        return decode_answer(packet)
    except PacketError as error:
        raise RootUnavailable(f"The handler's answer was not understood: {error}") from error


def _object(packet: bytes, max_bytes: int) -> dict[str, object]:
    if len(packet) > max_bytes:
        raise PacketError(f"longer than {max_bytes} bytes")
    try:
        fields = json.loads(packet.decode("utf-8"), object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError) as error:
        raise PacketError("not JSON in UTF-8, or a key given twice") from error
    if not isinstance(fields, dict):
        raise PacketError("not a JSON object")
    return fields


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is given twice")
    return fields


def _only(fields: dict[str, object], allowed: tuple[str, ...]) -> None:
    for name in fields:
        if name not in allowed:
            raise PacketError(f"unknown key {name[:40]!a}")


def _matching(value: object, name: str, pattern: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise PacketError(f"{name!r} must be text that matches {pattern}")
    return value


def _boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise PacketError(f"{name!r} must be true or false")
    return value


def _tags(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_TAGS:
        raise PacketError(f"'tags' must be a list of at most {MAX_TAGS}")
    return tuple(_matching(tag, "tags", TAG) for tag in value)
