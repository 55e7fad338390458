"""Texts from elsewhere (a reason, a message of Puppet's) made harmless for terminals and journals."""

from __future__ import annotations

import re

# Everything that could move a terminal's cursor or turn the direction of writing.
CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"


def escape(text: str) -> str:
    """Control characters but newline and tab as \\x1b and the like."""
    return re.sub(CONTROL, lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """Newlines and tabs as well, so that no text can forge a second line; surrogates are replaced."""
    escaped = escape(text).replace("\n", "\\n").replace("\t", "\\t")
    return escaped.encode("utf-8", "replace").decode("utf-8")
