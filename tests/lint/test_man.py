"""The sources of the man pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).resolve().parents[2] / "packaging/man").iterdir())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_line_of_a_macro_ends_with_its_sentence(page: Path) -> None:
    # The words of a macro are shown in turn in its two fonts, and without spaces: groff does not warn.
    lines = enumerate(page.read_text().splitlines(), 1)
    assert not [
        f"{page}:{number}: {line}" for number, line in lines if re.match(r"\.[BIR]{2} .* [.;:] ", line)
    ]
