"""Many names as few: web[001-480].example.net, which can be pasted where names are taken (who/names.py).

The form is that of ClusterShell and pdsh. Leading zeros are kept: `[001-480]` is not `[1-480]`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

# Characters that have a meaning in a folded text. A certname has none of them.
SPECIAL = re.compile(r"[\[\],\s]")

FEW = 10  # names that are shown in any case

_Row = tuple[str, ...]


def fold(names: Iterable[str]) -> str:
    """Return the names as one text, sorted."""
    return ",".join(parts(names))


def shorten(names: Iterable[str], *, width: int) -> str:
    """Return the names as one text of about `width` characters, with the number of names that are missing."""
    folded = parts(names)
    number = sum(map(_size, folded))
    taken: list[str] = []
    for part in folded:
        room = width - sum(map(len, taken)) - len(taken)
        if len(part) > room:
            taken += [] if taken else [_cut(part, room)]
            break
        taken.append(part)
    missing = number - sum(map(_size, taken))
    return ",".join(taken) + (f" and {missing:,} more" if missing else "")


def few(names: Collection[str]) -> str:
    """Return the names as one text if there are at most FEW, or else an empty text."""
    return fold(names) if len(names) <= FEW else ""


def named(names: Collection[str], *, width: int) -> str:
    """Return the names as one text: all if there are at most FEW, or else as many as fit."""
    return few(names) or shorten(names, width=width)


def _cut(part: str, room: int) -> str:
    """Return a folded text with fewer numbers in its longest brackets; it still stands for names."""
    brackets = max(re.findall(r"\[[^\]]*\]", part), key=len, default="")
    ranges = brackets[1:-1].split(",")
    while len(ranges) > 1 and len(part) - len(brackets) + len(",".join(ranges)) + 2 > room:
        ranges.pop()
    left = ",".join(ranges) if ranges[0].isdigit() and len(ranges) == 1 else f"[{','.join(ranges)}]"
    return part.replace(brackets, left, 1) if brackets else part


def parts(names: Iterable[str]) -> list[str]:
    """Return the folded names, one text for each group of names that differ in numbers only."""
    by_form: dict[tuple[str, ...], list[_Row]] = {}
    single = []
    for name in dict.fromkeys(names):
        pieces = re.split(r"([0-9]+)", name)
        if SPECIAL.search(name) or len(pieces) == 1:
            single.append(name)
        else:
            by_form.setdefault(tuple(pieces[::2]), []).append(tuple(pieces[1::2]))
    folded = [
        ("".join(piece for pair in zip(form, (*row, "")) for piece in pair), form, _order(row))
        for form, rows in by_form.items()
        for row in _fold_rows(rows)
    ]
    folded += [(name, (name,), ()) for name in single]
    return [text for text, _, _ in sorted(folded, key=lambda part: part[1:])]


# ---- folding: one number after the other, in the order that gives fewer texts


def _fold_rows(rows: list[_Row]) -> list[_Row]:
    if len(rows) == 1:
        return rows
    numbers = range(len(rows[0]))
    from_the_last = _fold_in_order(rows, numbers[::-1])
    if len(numbers) == 1 or len(from_the_last) == 1:
        return from_the_last
    from_the_first = _fold_in_order(rows, numbers)
    return min(from_the_last, from_the_first, key=len)


def _fold_in_order(rows: list[_Row], numbers: Iterable[int]) -> list[_Row]:
    for number in numbers:
        values: dict[tuple[_Row, _Row], list[str]] = {}
        for row in rows:
            values.setdefault((row[:number], row[number + 1 :]), []).append(row[number])
        rows = [(*before, _ranges(texts), *after) for (before, after), texts in values.items()]
    return rows


def _ranges(texts: list[str]) -> str:
    """Return `7`, or the numbers in brackets: `[001-003,007]`."""
    if len(texts) == 1:
        return texts[0]
    padded = {len(text) for text in texts if _padded(text)}
    ranges: list[list[str]] = []
    for text in sorted(texts, key=lambda text: (_width(text, padded), int(text))):
        if ranges and _follows(ranges[-1][-1], text, padded):
            ranges[-1][1:] = [text]
        else:
            ranges.append([text])
    return f"[{','.join('-'.join(ends) for ends in ranges)}]"


def _follows(before: str, text: str, padded: set[int]) -> bool:
    return int(text) == int(before) + 1 and _width(text, padded) == _width(before, padded)


def _width(text: str, padded: set[int]) -> int:
    """Return the digits to which a number is padded; 0 if it is not. 100 belongs to 001 as well as to 1."""
    return len(text) if len(text) in padded else 0


def _padded(text: str) -> bool:
    return len(text) > 1 and text[0] == "0"


def _order(row: Sequence[str]) -> tuple[int, ...]:
    return tuple(int(re.findall("[0-9]+", text)[0]) for text in row)


def _size(part: str) -> int:
    """Return the number of names that a folded text stands for."""
    size = 1
    for ranges in re.findall(r"\[([0-9,-]+)\]", part):
        ends = (text.split("-") for text in ranges.split(","))
        size *= sum(int(end[-1]) - int(end[0]) + 1 for end in ends)
    return size
