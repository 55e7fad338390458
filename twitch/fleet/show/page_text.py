"""Texts and names of nodes on the page: only here does what others have written become HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from twitch.fleet.show.digest import number_of
from twitch.fleet.show.folding import parts, shorten
from twitch.texts import one_line

# Characters of names in the line that opens all of them.
NAMES_WIDTH = 70


def as_text(text: str) -> str:
    """Return a text that is only a text: no markup, no control characters, one line."""
    return escape(one_line(text))


def node_names(names: Iterable[str], *, more: str = "", printed: bool = False) -> str:
    """Return the nodes behind a line with the first of them; the names can be pasted."""
    taken = list(names)
    folded = parts(taken)
    whole = ",<wbr>".join(map(as_text, folded))
    if sum(map(len, folded)) <= NAMES_WIDTH:
        if not more:
            return f'<p class="mono">{whole}</p>'
        first, inside = whole, more
    else:
        first = as_text(shorten(taken, width=NAMES_WIDTH)).replace(",", ",<wbr>")
        inside = f'<p class="nodes mono">{whole}</p>{more}'
    return f"<details{' class=print' if printed else ''}><summary>{first}</summary>{inside}</details>"


def number_cell(nodes: Sequence[str]) -> str:
    """Return the first cell of a row; its unit is shown where the table has no heading, on a phone."""
    number, unit = number_of(len(nodes), "node").split()
    return f'<td class="number">{number}<span class="unit"> {unit}</span></td>'
