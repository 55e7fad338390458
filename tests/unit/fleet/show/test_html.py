from __future__ import annotations

from html.parser import HTMLParser

import pytest

from tests.unit.fleet.show import realistic
from twitch.fleet.events import Ask, Change, NodeEvent, Plan, Summary
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.html import page_of
from twitch.fleet.show.page_style import COLOURS
from twitch.fleet.show.results import Results
from twitch.fleet.who.names import expanded

VOID = {"meta", "br", "wbr"}
SCRIPT = "<script>alert(1)</script>"
EVIL = f"\"'><img src=x onerror=alert(1)>{SCRIPT}</style></title>&amp;\x1b[31m\u202e\ud800"


class Page(HTMLParser):
    """The elements of a page; fails if they are not closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(realistic.results(10_000), path="deploy.jsonl")


def evil_results() -> Results:
    results = Results()
    ask = Ask(tags=(EVIL,), environment=EVIL, label=EVIL)
    results.add(Plan(0.0, (EVIL, "b"), ask, EVIL, 2, 0, 0, None, 1, EVIL, (EVIL,)))
    change = Change(EVIL, EVIL, (EVIL,), EVIL, 1, EVIL)
    for node, outcome in ((EVIL, Outcome.FAILED), ("b", Outcome.LATE)):
        results.add(NodeEvent(1.0, node, "running", EVIL))
        results.add(
            NodeEvent(
                2.0, node, "ended", EVIL, outcome, error=EVIL, changes=(change,), configuration_version=node
            )
        )
    results.add(Summary(3.0, {}, 0, 0, 0, 2, EVIL))
    return results


def test_page_is_one_file_without_scripts_or_foreign_resources(page: str) -> None:
    tags = Page(page).tags
    assert not {tag for tag, _ in tags} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    }
    named = {name for _, attributes in tags for name in attributes}
    assert not named & {"src", "href", "srcset", "action", "data", "background", "poster"}
    assert not any(name.startswith("on") for name in named)
    assert "url(" not in page
    assert "@import" not in page
    policy = next(attributes for tag, attributes in tags if "http-equiv" in attributes)
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_texts_of_nodes_are_texts() -> None:
    page = page_of(evil_results(), path=EVIL)
    assert SCRIPT not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert SCRIPT in Page(page).text
    page.encode("utf-8")


def test_page_of_many_nodes_is_small_enough_for_a_mail(page: str) -> None:
    assert len(page.encode()) < 500_000


def test_page_says_what_is_wrong_at_its_top(page: str) -> None:
    text = Page(page).text.strip()
    assert text.startswith("Puppet run on 10,000 nodes: 7 newly failed, 48 unreachable, ")
    order = [
        "Outcomes",
        "New failures",
        "Unreachable",
        "Runs over time",
        "What changed",
        "All nodes",
        "To paste",
    ]
    places = [text.index(f"{title}", 200) for title in order]
    assert places == sorted(places)


def test_every_node_is_on_the_page_and_can_be_pasted() -> None:
    results = realistic.results(200)
    text = Page(page_of(results).replace("<wbr>", "").replace("<", "\n<")).text
    listed = text[text.index("All nodes") : text.index("To paste")]
    lines = (line for line in listed.splitlines() if line.endswith(".example.net") and " " not in line)
    assert set(results.nodes) <= {name for line in lines for name in expanded([line])}


def test_page_of_few_runs_has_a_lane_for_each_and_of_many_a_fixed_number_of_columns(page: str) -> None:
    few = page_of(realistic.results(24))
    assert few.count('class="lane"') == 24
    assert 'class="lane"' not in page
    assert len(page_of(realistic.results(3000)).split("<figure")[1].split("</figure>")[0]) < 40_000


def test_page_without_runs_has_no_chart() -> None:
    results = Results()
    results.add(Plan(0.0, ("a",), Ask(), "a", 1, 0, 0, None, 1))
    assert "<figure" not in page_of(results)
    results.add(NodeEvent(0.0, "a", "running", "1"))
    assert "<figure" not in page_of(results)


def test_page_says_what_was_applied_although_noop() -> None:
    page = page_of(realistic.results(2000, noop=True))
    assert "1 resource applied although noop" in page
    assert '<tr class=red><td class="number">' in page


def test_every_outcome_has_a_colour() -> None:
    assert set(COLOURS) == set(Outcome)
