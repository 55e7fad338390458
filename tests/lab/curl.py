"""An HTTP answer as curl prints it: status, headers and body."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser

from .errors import LabError


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Message
    """Case-insensitive, `headers["puppet-run"]`; None where there is no such header."""
    body: str


def parse(output: str) -> Reply:
    """Parse the output of `curl --include`; LabError if it is no HTTP answer."""
    head, separator, body = output.partition("\r\n\r\n")
    # An interim answer, such as 100 Continue, comes before the real one.
    while separator and head.startswith("HTTP/") and head.split()[1].startswith("1"):
        head, separator, body = body.partition("\r\n\r\n")
    first, _, fields = head.partition("\r\n")
    if not separator or not first.startswith("HTTP/"):
        raise LabError(f"no HTTP answer: {output[:500]!r}")
    return Reply(int(first.split()[1]), HeaderParser().parsestr(fields), body)
