"""The parameters of a request: read from the query, a form or a JSON object, and checked.

An unknown, repeated or invalid parameter is refused by name, because ignoring a misspelt `noop` would
start a run that changes things.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple, Optional
from urllib.parse import parse_qsl, unquote_to_bytes

from twitch import durations
from twitch.listener.exchange import HTTPError, Request
from twitch.messages import ENVIRONMENT, ENVIRONMENT_FORM, MAX_TAGS, TAG, TAGS_FORM

# Puppet ends a run after an hour (runtimeout); a caller that waits for a day has been forgotten.
MAX_WAIT_S = 24 * 3600

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


class Parameters:
    """The parameters of one request. Each method returns one of them, or raises `HTTPError` (400)."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

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

    def tags(self) -> tuple[str, ...]:
        """Return Puppet's tags, which are separated by commas."""
        value = self._texts.get("tags")
        if value is None:
            return ()
        tags = tuple(value.split(","))
        if len(tags) > MAX_TAGS or not all(TAG.fullmatch(tag) for tag in tags):
            raise _malformed("tags", TAGS_FORM)
        return tags

    def environment(self) -> Optional[str]:
        """Return the name of a Puppet environment, or None."""
        value = self._texts.get("environment")
        if value is not None and not ENVIRONMENT.fullmatch(value):
            raise _malformed("environment", ENVIRONMENT_FORM)
        return value


class Trigger(NamedTuple):
    """The parameters of a trigger."""

    wait_s: int  # how long the caller waits for the end of the run
    queue: bool
    noop: bool
    tags: tuple[str, ...]
    environment: Optional[str]


def trigger(parameters: Parameters) -> Trigger:
    """Return all parameters of a trigger, so that an invalid one is refused before anything starts."""
    wait_s, at_once = parameters.wait(), parameters.flag("async", default=True)
    if wait_s is None:
        wait_s = 0 if at_once else MAX_WAIT_S
    return Trigger(
        wait_s,
        queue=parameters.flag("queue"),
        noop=parameters.flag("noop"),
        tags=parameters.tags(),
        environment=parameters.environment(),
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


def _malformed(name: str, allowed: str) -> HTTPError:
    return HTTPError(400, f"Parameter {name if name.isidentifier() else ascii(name)} must be {allowed}")
