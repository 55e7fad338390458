"""What a request asks for besides its path: from the query, a form or a JSON object, to checked values.

Whatever is unknown, repeated or malformed is refused by name. A parameter that was misspelt and
silently ignored would be a run without `noop`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Optional
from urllib.parse import parse_qsl, unquote_to_bytes

from twitch.errors import HTTPError
from twitch.listener.exchange import Request
from twitch.messages import ENVIRONMENT, MAX_TAGS, TAG

# A caller who waits longer than a day has forgotten that it waits; Puppet's own limit is an hour.
MAX_WAIT_S = 24 * 3600

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Parameters:
    """The parameters of one request; each getter checks one of them."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def flag(self, name: str, *, default: bool = False) -> bool:
        """true or false; a bare `?name` is true, as it always was."""
        value = self._given.get(name)
        if value is None:
            return default
        if value not in ("", "true", "false"):
            raise _malformed(name, "true or false")
        return value != "false"

    def seconds(self, name: str) -> Optional[int]:
        """A whole number of seconds."""
        value = self._given.get(name)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > MAX_WAIT_S:
            raise _malformed(name, f"seconds, a whole number up to {MAX_WAIT_S}")
        return int(value)

    def age(self, name: str) -> Optional[int]:
        """A span of time such as 90, 90s, 30m, 2h or 7d, in seconds."""
        value = self._given.get(name)
        if value is None:
            return None
        span = re.fullmatch(r"([0-9]{1,9})([smhd]?)", value)
        if not span:
            raise _malformed(name, "a span of time such as 90s, 30m, 2h or 7d")
        return int(span[1]) * UNIT_S[span[2]]

    def tags(self) -> tuple[str, ...]:
        """Puppet's tags, separated by commas."""
        value = self._given.get("tags")
        if value is None:
            return ()
        tags = tuple(value.split(","))
        if len(tags) > MAX_TAGS or not all(TAG.fullmatch(tag) for tag in tags):
            raise _malformed("tags", f"up to {MAX_TAGS} tags of letters, digits and _:.- between commas")
        return tags

    def environment(self) -> Optional[str]:
        """The name of a Puppet environment."""
        value = self._given.get("environment")
        if value is not None and not ENVIRONMENT.fullmatch(value):
            raise _malformed("environment", "a name of letters, digits and _")
        return value


def read(request: Request, query: str, allowed: tuple[str, ...]) -> Parameters:
    """Return the parameters of a request, or refuse it (400, 415)."""
    pairs = _form(query.encode("ascii"), "query")
    if request.body:
        pairs += _body(request)
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            known = f"known here: {', '.join(allowed)}" if allowed else "none is known here"
            raise HTTPError(400, f"Unknown parameter {name[:40]!a}; {known}")
        if name in given:
            raise HTTPError(400, f"Parameter {name} is given more than once")
        given[name] = value
    return Parameters(given)


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
    # An object is a tuple of pairs here, so that a repeated name is seen.
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
