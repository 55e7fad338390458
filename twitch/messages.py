"""The packets between listener and handler: what they are, and whether one is well-formed.

One JSON object each way over SOCK_SEQPACKET. The handler runs as root, so everything in a packet
is matched whole against what Puppet is known to accept; whatever else a packet says is an error.
No behaviour lives here.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, Optional, Union

from twitch.errors import PacketError

RUN_SOCKET = "/run/puppet-twitch/run.sock"

# Fifty tags of a hundred characters and a name fit easily; the kernel would carry about 212,900.
MAX_PACKET_BYTES = 16 * 1024

MAX_TAGS = 50
# Puppet's rule is [[:alnum:]_][[:alnum:]_:.-]* (lib/puppet/util/tagging.rb); ASCII and a length
# are ours. The first character cannot be a hyphen, so no tag can pose as an option.
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_:.-]{0,99}")
# puppetserver rejects whatever is not \w+ with 400, after the agent has done its pluginsync.
ENVIRONMENT = re.compile(r"[A-Za-z0-9_]{1,64}")
RUN_ID = re.compile(r"[0-9a-f]{32}")  # systemd's INVOCATION_ID
CALLER = re.compile(r"[!-~]{1,256}( [!-~]{1,256}){0,7}")
CLIENT = re.compile(r"[0-9A-Fa-f:.]{2,45}")

ANSWERS = frozenset(
    # started, queued: `run` says which. busy: `run` if it is one of ours. disabled, cannot: `reason`.
    # cooldown: `retry_after_s`. status: `status`. invalid: `reason`; the packet was not understood.
    ("started", "queued", "busy", "disabled", "cooldown", "cannot", "status", "invalid")
)


class Run(NamedTuple):
    """Please run Puppet. `caller` and `client` are for the journal."""

    caller: str
    client: str
    named: bool = False  # the caller has a line in [access]: no cooldown
    noop: bool = False
    tags: tuple[str, ...] = ()
    environment: Optional[str] = None
    queue: bool = False

    def options(self) -> dict[str, object]:
        """What the caller has chosen about the run, as records and claims hold it."""
        return {"noop": self.noop, "tags": list(self.tags), "environment": self.environment}


class Status(NamedTuple):
    """What is Puppet doing, and what became of its last run?"""


class Answer(NamedTuple):
    """What the handler says; see ANSWERS for which field comes with which kind."""

    kind: str
    run: Optional[str] = None
    reason: Optional[str] = None
    retry_after_s: Optional[int] = None
    status: Optional[dict[str, object]] = None


def encode(message: Union[Run, Status, Answer]) -> bytes:
    """Return the packet for a message; ASCII only, whatever a reason contains."""
    fields = dict(message._asdict())
    if not isinstance(message, Answer):
        fields["ask"] = type(message).__name__.lower()
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def decode_question(packet: bytes) -> Union[Run, Status]:
    """Return the question in a packet; raises `PacketError` saying what is wrong with it."""
    fields = _object(packet)
    ask = fields.pop("ask", None)
    if ask == "status":
        _only(fields, Status._fields)
        return Status()
    if ask != "run":
        raise PacketError("'ask' must be 'run' or 'status'")
    _only(fields, Run._fields)
    environment = fields.get("environment")
    return Run(
        caller=_matching(fields.get("caller"), "caller", CALLER),
        client=_matching(fields.get("client"), "client", CLIENT),
        named=_boolean(fields.get("named", False), "named"),
        noop=_boolean(fields.get("noop", False), "noop"),
        tags=_tags(fields.get("tags", [])),
        environment=None if environment is None else _matching(environment, "environment", ENVIRONMENT),
        queue=_boolean(fields.get("queue", False), "queue"),
    )


def decode_answer(packet: bytes) -> Answer:
    """Return the answer in a packet; raises `PacketError` if it is none."""
    fields = _object(packet)
    _only(fields, Answer._fields)
    if str(fields.get("kind")) not in ANSWERS:
        raise PacketError("'kind' is not one of the answers")
    answer = Answer(**fields)  # type: ignore[arg-type]
    if answer.kind in ("started", "queued"):
        _matching(answer.run, "run", RUN_ID)
    return answer


def _object(packet: bytes) -> dict[str, object]:
    if len(packet) > MAX_PACKET_BYTES:
        raise PacketError(f"longer than {MAX_PACKET_BYTES} bytes")
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


def _matching(value: object, name: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise PacketError(f"{name!r} must be text that matches {pattern.pattern}")
    return value


def _boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise PacketError(f"{name!r} must be true or false")
    return value


def _tags(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_TAGS:
        raise PacketError(f"'tags' must be a list of at most {MAX_TAGS}")
    return tuple(_matching(tag, "tags", TAG) for tag in value)
