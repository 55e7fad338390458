# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""What is asked of puppet-twitch on a node, and what comes back.

This file is private. The Ansible collection and the Bolt tasks of the Puppet module have the same copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional

# A record of a run has at most 96 KB in JSON; the rest is for the fields around it, and lists of runs.
MAX_BODY_BYTES = 256 * 1024
MAX_TEXT = 500


class NotReached(Exception):
    """No answer of puppet-twitch came. `sent` is false if the request has certainly not been read."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Answer(NamedTuple):
    """An answer of puppet-twitch on a node."""

    status: int
    fields: Mapping[str, Any]  # the JSON object
    headers: Mapping[str, str]  # names in lower case

    @property
    def text(self) -> str:
        """Return the text of the answer, in one line."""
        text = self.fields.get("detail") or self.fields.get("message") or f"status {self.status}"
        return " ".join(str(text).split())[:MAX_TEXT]

    @property
    def run(self) -> Optional[str]:
        """Return the id of the run that the answer is about."""
        return self.headers.get("puppet-run")

    @property
    def retry_after_s(self) -> Optional[int]:
        """Return the seconds of Retry-After."""
        text = self.headers.get("retry-after", "")
        return int(text) if text.isdigit() else None


# Send one request (method, path, parameters, and how long it waits on the node), or raise NotReached.
Send = Callable[[str, str, Mapping[str, str], int], Answer]


def read(url: str, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return the answer in a response; raises NotReached if it is not one of puppet-twitch."""
    try:
        fields = json.loads(body.decode("utf-8")) if len(body) <= MAX_BODY_BYTES else None
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        begin = " ".join(body[:80].decode("utf-8", "replace").split())
        text = f"{url} does not answer as puppet-twitch does: status {status}, {begin!r}"
        raise NotReached(text, sent=True)
    return Answer(status, fields, {name.lower(): value for name, value in headers.items()})
