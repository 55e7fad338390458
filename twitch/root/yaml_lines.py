"""Read single values of YAML in lines that are known to be a key with its value.

PyYAML takes 0.3 ms for a message, and a report can have thousands. Nearly all are plain or quoted texts whose
lines have only been folded, and need no parser.
"""

from __future__ import annotations

import re
from typing import Optional

from twitch.root import plain_yaml, values

# A text without quotes in which YAML sees nothing else. Its first character is no indicator of YAML's.
PLAIN = re.compile(r"[\w/.(](?:[^:#\n]|:(?=[^ \n])|(?<=[^ \n])#)*")
SINGLE_QUOTED = re.compile(r"'((?:[^'\n]|'')*)'")
DOUBLE_QUOTED = re.compile(r'"([^"\\\n]*)"')
BLANKS = " \t"

# The texts of a report for which PyYAML is asked, all together; the rest is left as it is written.
PARSED_CHARS = 64 * 1024


class Scalars:
    """Reads the values of one report."""

    def __init__(self) -> None:
        self._left = PARSED_CHARS

    def read(self, written: str) -> Optional[str]:
        """Return what is written behind a key and its colon, on any number of lines; None for no value."""
        lines = [line.strip(BLANKS) for line in written.strip("\n").split("\n")]
        folded = " ".join(lines)
        if not folded:
            return None
        if "" not in lines:  # an empty line stands for a newline, and all others for a blank
            if PLAIN.fullmatch(folded):
                return folded
            quoted = SINGLE_QUOTED.fullmatch(folded)
            if quoted:
                return quoted[1].replace("''", "'") or None
            quoted = DOUBLE_QUOTED.fullmatch(folded)
            if quoted:
                return quoted[1] or None
        return self._parsed(written) or folded

    def _parsed(self, written: str) -> Optional[str]:
        self._left -= len(written)
        if self._left < 0:
            return None
        # The key is at column 0, so that its value is indented further, however deep it stood.
        return values.text(values.mapping(plain_yaml.load(f"x: {written}")).get("x"))
