"""The parameters of a request: read from the query, a form or a JSON object, and checked.

An unknown, repeated or invalid parameter is refused by name, because ignoring a misspelt `noop` would
start a run that changes things.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional
from urllib.parse import parse_qsl, unquote_to_bytes

from twitch import durations
from twitch.listener.exchange import HTTPError, Request
from twitch.messages import ENVIRONMENT, ENVIRONMENT_FORM, LABEL, LABEL_FORM, MAX_TAGS, REASON, TAG, TAGS_FORM
from twitch.records import VERDICTS

# Puppet ends a run after an hour (runtimeout); a caller that waits for a day has been forgotten.
MAX_WAIT_S = 24 * 3600

# The runs of a list. With two hundred runs of a site with long reasons, an answer in JSON has 200 KB.
LIMIT, MAX_LIMIT = 50, 200

# A date and time of RFC 3339. `+` in a query is a blank, unless it is escaped.
TIME = r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9:]{5,8})(\.[0-9]+)?([Zz]|[+ -][0-9]{2}:[0-9]{2})"
EPOCH = r"[0-9]{1,11}(\.[0-9]{1,9})?"
NUMBER = r"[0-9]{1,10}"

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


class Parameters:
    """The parameters of one request. Each method returns one of them, or raises `HTTPError` (400)."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    @property
    def given(self) -> bool:
        """Whether the request has any parameter."""
        return bool(self._texts)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return true or false; a bare `?name` is true, as in every version."""
        value = self._texts.get(name)
        if value is None:
            return default
        if value not in ("", "true", "false"):
            raise _malformed(name, "true or false")
        return value != "false"

    def duration(self, name: str, *, at_most_s: Optional[int] = None) -> Optional[int]:
        """Return the seconds in a duration such as 90, 90s, 30m, 2h or 7d, or None."""
        value = self._texts.get(name)
        if value is None:
            return None
        seconds = durations.seconds(value)
        if seconds is None or (at_most_s is not None and seconds > at_most_s):
            limit = "" if at_most_s is None else f", at most {durations.shown(at_most_s)}"
            raise _malformed(name, f"{durations.FORM}{limit}")
        return seconds

    def wait(self) -> Optional[int]:
        """Return how many seconds the caller wants to wait for the end of a run, or None."""
        return self.duration("wait", at_most_s=MAX_WAIT_S)

    def number(self, name: str, *, at_most: int) -> Optional[int]:
        """Return a whole number from 0 on, or None."""
        value = self._texts.get(name)
        if value is None:
            return None
        if not re.fullmatch(NUMBER, value) or int(value) > at_most:
            raise _malformed(name, f"a whole number from 0 to {at_most}")
        return int(value)

    def one_of(self, name: str, allowed: Sequence[str]) -> Optional[str]:
        """Return one of these words, or None."""
        value = self._texts.get(name)
        if value is not None and value not in allowed:
            raise _malformed(name, f"one of {', '.join(allowed)}")
        return value

    def tags(self) -> tuple[str, ...]:
        """Return Puppet's tags, which are separated by commas."""
        value = self._texts.get("tags")
        if value is None:
            return ()
        tags = tuple(value.split(","))
        if len(tags) > MAX_TAGS or not all(re.fullmatch(TAG, tag) for tag in tags):
            raise _malformed("tags", TAGS_FORM)
        return tags

    def environment(self) -> Optional[str]:
        """Return the name of a Puppet environment, or None."""
        value = self._texts.get("environment")
        if value is not None and not re.fullmatch(ENVIRONMENT, value):
            raise _malformed("environment", ENVIRONMENT_FORM)
        return value

    def label(self) -> Optional[str]:
        """Return the caller's own name for the run, or None."""
        value = self._texts.get("label")
        if value is not None and not re.fullmatch(LABEL, value):
            raise _malformed("label", LABEL_FORM)
        return value

    def limit(self) -> int:
        """Return how many runs a list has at most."""
        value = self._texts.get("limit", str(LIMIT))
        if not re.fullmatch("[0-9]{1,4}", value) or not 1 <= int(value) <= MAX_LIMIT:
            raise _malformed("limit", f"a number from 1 to {MAX_LIMIT}")
        return int(value)

    def since(self) -> float:
        """Return a time in epoch seconds, or 0."""
        value = self._texts.get("since", "0")
        moment = _moment(value)
        if moment is None:
            raise _malformed(
                "since",
                "a time ago such as 30m, 2h or 7d, a time of RFC 3339 such as 2026-01-22T09:05:00Z,"
                " or epoch seconds",
            )
        return moment

    def verdicts(self) -> tuple[str, ...]:
        """Return verdicts, which are separated by commas, or none."""
        value = self._texts.get("verdict")
        if value is None:
            return ()
        verdicts = tuple(re.sub("[_-]", " ", word) for word in value.split(","))
        if not all(verdict in VERDICTS for verdict in verdicts):
            words = ", ".join(verdict.replace(" ", "_") for verdict in VERDICTS)
            raise _malformed("verdict", f"one or more of these, between commas: {words}")
        return verdicts

    def reason(self) -> str:
        """Return why Puppet is to be disabled."""
        value = self._texts.get("reason", "")
        if not re.fullmatch(REASON, value):
            raise _malformed("reason", "a text of 1 to 200 characters on one line, such as a ticket")
        return value

    def hold_s(self, default_s: int, at_most_s: int) -> int:
        """Return how many seconds Puppet is to be disabled for."""
        seconds = self.duration("for", at_most_s=at_most_s)
        if seconds == 0:
            raise _malformed("for", "at least a second")
        return default_s if seconds is None else seconds


class Trigger(NamedTuple):
    """The parameters of a trigger."""

    wait_s: int  # how long the caller waits for the end of the run
    queue: bool
    noop: bool
    tags: tuple[str, ...]
    environment: Optional[str]
    label: Optional[str]
    follow: bool  # the answer is the log of the run


def trigger(parameters: Parameters) -> Trigger:
    """Return all parameters of a trigger, so that an invalid one is refused before anything starts."""
    wait_s, at_once = parameters.wait(), parameters.flag("async", default=True)
    follow = parameters.flag("follow")
    if follow and (wait_s is not None or not at_once):
        raise HTTPError(
            400, "Parameter follow is answered at once, so async=false and wait do not go with it"
        )
    if wait_s is None:
        wait_s = 0 if at_once else MAX_WAIT_S
    return Trigger(
        wait_s,
        queue=parameters.flag("queue"),
        noop=parameters.flag("noop"),
        tags=parameters.tags(),
        environment=parameters.environment(),
        label=parameters.label(),
        follow=follow,
    )


def read(request: Request, query: str, allowed: tuple[str, ...]) -> Parameters:
    """Return the parameters of a request; raises `HTTPError` (400, 415)."""
    pairs = _form(query.encode("ascii"), "query")
    if request.body:
        pairs += _body(request)
    texts: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            hint = f"known here: {', '.join(allowed)}" if allowed else "none is known here"
            raise HTTPError(400, f"Unknown parameter {name[:40]!a}; {hint}")
        if name in texts:
            raise HTTPError(400, f"Parameter {name} is given more than once")
        texts[name] = value
    return Parameters(texts)


def _body(request: Request) -> list[tuple[str, str]]:
    if request.method != "POST":
        raise HTTPError(400, "Only POST takes a body")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        return _form(request.body, "body")
    if kind == JSON:
        return _json(request.body)
    raise HTTPError(415, f"A body must be {FORM} or {JSON}")


def _form(text: bytes, where: str) -> list[tuple[str, str]]:
    if not text:
        return []
    try:
        for piece in text.split(b"&"):
            unquote_to_bytes(piece).decode("utf-8")
        return parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise HTTPError(400, f"The {where} is not name=value&… in UTF-8, or too long") from error


def _json(text: bytes) -> list[tuple[str, str]]:
    try:
        pairs = json.loads(text.decode("utf-8"), object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise HTTPError(400, "The body is not JSON in UTF-8") from error
    # With this hook an object is a tuple of pairs, so that a repeated name is noticed.
    if not isinstance(pairs, tuple):
        raise HTTPError(400, "The body is not a JSON object")
    return [(name, _json_value(name, value)) for name, value in pairs]


def _json_value(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    raise _malformed(name[:40], "a string, a number, true, false or a list of strings")


def _moment(text: str) -> Optional[float]:
    """Return a time in epoch seconds; None if it is not one. A number without a unit is one already."""
    if re.fullmatch(EPOCH, text):
        return float(text)
    ago_s = durations.seconds(text)
    if ago_s is not None:
        return time.time() - ago_s
    written = re.fullmatch(TIME, text)
    if not written:
        return None
    from datetime import datetime  # 4 ms

    date, clock, _, zone = written.groups()
    zone = "+00:00" if zone in "Zz" else zone.replace(" ", "+")
    try:
        return datetime.fromisoformat(f"{date}T{clock}{zone}").timestamp()
    except (ValueError, OverflowError):
        return None


def _malformed(name: str, allowed: str) -> HTTPError:
    return HTTPError(400, f"Parameter {name if name.isidentifier() else ascii(name)} must be {allowed}")
