"""What differs from node to node in equal messages: the node's own name, numbers, ids, paths."""

from __future__ import annotations

import re
from collections.abc import Iterable

NODE, PATH, ID, NUMBER = "NODE", "PATH", "ID", "N"

# Beside letters and digits, what a name goes on with.
WORD = ("-", "_")

DIFFERS = re.compile(
    # A path has two parts at least: `and/or` is none, and neither is a lone slash.
    r"((?<![\w/.])(?:/[^\s/'\":;,()\[\]{}]+){2,}/?|\b[A-Za-z]:\\[^\s'\":;,()\[\]{}]+"
    # Run ids, checksums, UUIDs: eight hexadecimal digits or more, of which one is a digit.
    r"|(?<![0-9A-Za-z])(?=[A-Fa-f-]*[0-9])[0-9A-Fa-f]{4,}[0-9A-Fa-f-]{4,}(?![0-9A-Za-z])"
    # Numbers, and what is written of them with separators: addresses, versions and times.
    r"|[0-9]+(?:[.:][0-9]+)*)"
)

# A path is shown up to where it differs if so much of it is the same everywhere.
MIN_PREFIX = 5


def without_name(text: str, node: str) -> str:
    """Return the text with NODE for the certname, and for its first part if that is a name with a number."""
    text = _without(text, node)
    short = node.partition(".")[0]
    if short != node and short in text and any(letter.isdigit() for letter in short):
        text = _without(text, short)
    return text


def _without(text: str, name: str) -> str:
    """Return the text with NODE for each whole word `name`.

    Not with a regular expression: each of thousands of names would be compiled, for 0.1 ms each.
    """
    if not name or name not in text:
        return text
    blanked, at = [], 0
    while (found := text.find(name, at)) >= 0:
        end = found + len(name)
        whole = not (_goes_on(text[found - 1 : found]) or _goes_on(text[end : end + 1]))
        blanked += [text[at:found], NODE if whole else name]
        at = end
    return "".join((*blanked, text[at:]))


def _goes_on(letter: str) -> bool:
    """Return whether a word goes on with this letter; it does not at the end of the text."""
    return letter.isalnum() or letter in WORD


def blank(text: str) -> str:
    """Return the text with PATH, ID and N for paths, ids and numbers: equal for what is to be one group."""
    return DIFFERS.sub(lambda found: _kind(found[0]), text)


def common(texts: Iterable[str]) -> str:
    """Return one text for texts that are equal when blanked: only what differs in them is blanked."""
    split = [DIFFERS.split(text) for text in texts]
    literal = {tuple(pieces[::2]) for pieces in split}
    if len(literal) > 1:  # one has the word N where another has a number
        return blank("".join(split[0]))
    return "".join(_common(list(column)) for column in zip(*split))


def _common(values: list[str]) -> str:
    if len(set(values)) == 1:
        return values[0]
    kind = _kind(values[0])
    prefix = _prefix(min(values), max(values)) if kind == PATH else ""
    return f"{prefix}…" if len(prefix) >= MIN_PREFIX else kind


def _prefix(first: str, last: str) -> str:
    """Return what two texts have in common; of the first and last in order, it is what all have between."""
    length = next((at for at, pair in enumerate(zip(first, last)) if pair[0] != pair[1]), len(first))
    return first[:length]


def _kind(value: str) -> str:
    if value[0] == "/" or (value[1:2] == ":" and value[0].isalpha()):
        return PATH
    return NUMBER if re.fullmatch(r"[0-9.:]+", value) and len(value) < 32 else ID
