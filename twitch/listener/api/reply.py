"""A reply of the API, and how it is written: as text, or as JSON for `Accept: application/json`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple, Optional

from twitch.listener.exchange import REASONS, HTTPError, Response
from twitch.texts import escape
from twitch.wording import COMPLETE, RUNNING, TRIGGERED

# A published contract, exact to the byte: without a newline. Every other text ends in one.
PUBLISHED = frozenset((TRIGGERED, RUNNING, COMPLETE))

TEXT, JSON, PROBLEM = "text/plain; charset=utf-8", "application/json", "application/problem+json"

# No answer may come from a cache, and no browser may take one for a page.
ALWAYS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))

Headers = tuple[tuple[str, str], ...]


class Reply(NamedTuple):
    """A reply: a text, and fields that only JSON has. From status 400 on the text says what went wrong."""

    status: int
    text: str
    fields: Mapping[str, Any] = {}
    headers: Headers = ()
    close: bool = False  # close the connection after this reply
    refused: bool = False  # count it as a refusal (refusal_log.py)
    media_type: str = ""  # of a text that no JSON can replace
    message: Optional[str] = None  # in JSON instead of the text, which repeats the fields
    parts: Optional[AsyncGenerator[bytes, None]] = None  # the body, in place of text and fields


def of_error(error: HTTPError) -> Reply:
    """Return the reply for an error."""
    return Reply(error.status, str(error), headers=error.headers, close=error.close)


def render(reply: Reply, accept: str = "") -> Response:
    """Return the response for a reply; `accept` is the request's header of that name."""
    if reply.parts:
        return Response(reply.status, reply.parts, (*ALWAYS, *reply.headers), reply.close)
    if reply.media_type:
        media_type, body = reply.media_type, reply.text.encode("utf-8", "replace")
    else:
        media_type, body = _json(reply) if _wants_json(accept) else (TEXT, _text(reply.text))
    headers = (("Content-Type", media_type), *ALWAYS, *reply.headers)
    return Response(reply.status, body, headers, reply.close)


def _text(text: str) -> bytes:
    escaped = escape(text)
    return (escaped if escaped in PUBLISHED else escaped + "\n").encode("utf-8", "replace")


def _json(reply: Reply) -> tuple[str, bytes]:
    if reply.status < 400:
        media_type, fields = JSON, {"message": reply.message or reply.text, **reply.fields}
    else:  # problem details (RFC 9457)
        title = REASONS.get(reply.status, "")
        problem = {"type": "about:blank", "title": title, "status": reply.status, "detail": reply.text}
        media_type, fields = PROBLEM, {**problem, **reply.fields}
    return media_type, (json.dumps(fields) + "\n").encode()


def _wants_json(accept: str) -> bool:
    """Return whether the client asks for JSON by name."""
    return JSON in accept or PROBLEM in accept
