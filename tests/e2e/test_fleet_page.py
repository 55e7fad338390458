"""The page of a result (--html) in Chromium: on a phone and wide, light and dark."""

from __future__ import annotations

import pytest

from tests.e2e.page_probe import DARK, LIGHT, measure
from tests.lab.lab import Lab
from tests.lab.network import Netns
from tests.unit.fleet.show import realistic
from twitch.fleet.events import NodeEvent
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.html import page_of
from twitch.fleet.show.results import Results

# A name and a message without a place to break a line, and with markup.
LONG = NodeEvent(
    realistic.BEGAN + 9, f"node-{'x' * 60}.{'y' * 60}.example.net", "ended", "f" * 32, Outcome.FAILED, True,
    error=f"<script>document.title='{'no-break-' * 30}'</script>",
)  # fmt: skip


@pytest.fixture(scope="session")
def reader(empty_lab: Lab) -> Netns:
    return empty_lab.client("10.77.0.70", "fd77::70")


def page(results: Results) -> str:
    results.add(LONG)
    return page_of(results, path="deploy.jsonl")


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_page_fits_its_window_and_has_enough_contrast(reader: Netns, scheme: str) -> None:
    many, few = page(realistic.results(2000, noop=True)), page(realistic.results(24))
    widths = [360, 1200, 360, 1200]
    for measured, width in zip(
        measure(reader, [*zip((many, many, few, few), widths)], scheme=scheme), widths
    ):
        assert measured.dark is (scheme == DARK)
        assert measured.width <= width
        assert measured.wide == []
        assert measured.texts > 50
        assert measured.low == []


def test_probe_finds_a_text_that_is_pale_and_an_element_that_is_wide(reader: Netns) -> None:
    pale = '<p style="color:#999;background:#fff">pale</p><p>black</p><div style="width:2000px">wide</div>'
    (measured,) = measure(reader, [(f"<!DOCTYPE html><body>{pale}</body>", 360)], scheme=LIGHT)
    assert measured.width > 360
    assert [text[:2] for _, text in measured.low] == ["<p"]
    assert len(measured.wide) == 1
