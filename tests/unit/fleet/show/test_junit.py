from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from xml.etree.ElementTree import Element

import pytest

from tests.unit.fleet.show import realistic
from twitch.fleet.events import Ask, NodeEvent, Plan, Summary
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show import junit
from twitch.fleet.show.junit import junit_of
from twitch.fleet.show.results import Results

# The part of the schema of Jenkins' xUnit plugin (junit-10.xsd) that is used here, which GitLab reads too:
# element -> its attributes, those that are required, and its children in their order.
SCHEMA: dict[str, tuple[set[str], set[str], list[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors", "skipped"}, set(), ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"},
        {"name", "tests"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "testcase": (
        {"name", "classname", "time", "status", "group", "assertions"},
        {"name"},
        ["skipped", "error", "failure", "system-out", "system-err"],
    ),
    "skipped": ({"type", "message"}, set(), []),
    "error": ({"type", "message"}, set(), []),
    "failure": ({"type", "message"}, set(), []),
    "system-out": (set(), set(), []),
}


def valid(element: Element) -> None:
    allowed, required, children = SCHEMA[element.tag]
    assert required <= set(element.attrib) <= allowed
    places = [children.index(child.tag) for child in element]
    assert places == sorted(places)
    if element.tag == "testcase":
        assert len(element) <= 1
    for number in ("tests", "failures", "errors", "skipped"):
        assert element.attrib.get(number, "0").isdigit()
    float(element.attrib.get("time", 0))
    for child in element:
        valid(child)


def suite_of(results: Results) -> Element:
    root = ElementTree.fromstring(junit_of(results))
    valid(root)
    (suite,) = root
    cases = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == len(cases)
    for number, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[number]) == sum(case.find(tag) is not None for case in cases)
    return suite


def results_of(*events: NodeEvent, count_old_failures: bool = False) -> Results:
    results = Results()
    nodes = tuple(event.node for event in events)
    plan = Plan(0.0, nodes, Ask(label="CHG-1"), "", 20, 0, 0, None, 1, "db", (), ("before",))
    results.add(plan._replace(count_old_failures=count_old_failures))
    for event in events:
        results.add(event)
    results.add(Summary(9.0, {}, 0, 0, 0, 0))
    return results


def test_a_failure_as_before_is_a_failure_if_these_count() -> None:
    event = NodeEvent(3.0, "before", "ended", "1", Outcome.FAILED, new=False)
    (case,) = suite_of(results_of(event)).findall("testcase")
    assert [child.tag for child in case] == ["skipped"]
    (case,) = suite_of(results_of(event, count_old_failures=True)).findall("testcase")
    (failure,) = case
    assert (failure.tag, failure.attrib["message"]) == ("failure", "failed as before")


@pytest.mark.parametrize(
    ("node", "outcome", "kind"),
    [
        ("a", Outcome.UNCHANGED, None),
        ("a", Outcome.CHANGED, None),
        ("a", Outcome.PENDING, None),
        ("a", Outcome.FAILED, "failure"),
        ("before", Outcome.FAILED, "skipped"),
        ("a", Outcome.INTERRUPTED, "failure"),
        ("a", Outcome.NOT_ATTEMPTED, "failure"),
        ("a", Outcome.REFUSED, "failure"),
        ("a", Outcome.UNREACHABLE, "error"),
        ("a", Outcome.LATE, "error"),
        ("a", Outcome.LOST, "error"),
        ("a", Outcome.UNPROVEN, "error"),
        ("a", None, "error"),
        ("a", Outcome.DISABLED, "skipped"),
        ("a", Outcome.NOT_STARTED, "skipped"),
    ],
)
def test_an_outcome_is_a_kind_of_test_case(node: str, outcome: Outcome | None, kind: str | None) -> None:
    (case,) = suite_of(results_of(NodeEvent(1.0, node, "ended", "1", outcome))).findall("testcase")
    assert [child.tag for child in case] == ([kind] if kind else [])
    assert case.attrib["name"] == node


def test_a_failure_has_the_error_the_resource_and_the_run() -> None:
    suite = suite_of(realistic.results(10_000))
    texts = [failure.text or "" for failure in suite.iter("failure")]
    assert texts
    assert all("No space left on device" in text or "Could not get lock" in text for text in texts)
    assert all("init.pp:42" in text or "base.pp:31" in text for text in texts)
    assert "CHG-4711" in suite.attrib["name"]


def test_any_text_is_valid_xml() -> None:
    evil = "<b>]]>&\"'\x00\x1b\ufffe\uffff\ud800\n\t"
    suite = suite_of(results_of(NodeEvent(1.0, f"a{evil}", "ended", evil, Outcome.FAILED, error=evil)))
    assert "<b>]]>&\"'\\x00\\x1b" in suite.find("testcase/failure").text  # type: ignore[operator, union-attr]


def test_beyond_the_limit_only_what_is_not_good_has_a_case_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(junit, "MAX_CASES", 100)
    results = realistic.results(1000)
    cases = suite_of(results).findall("testcase")
    good = results.count(Outcome.UNCHANGED, Outcome.CHANGED)
    assert len(cases) == 1000 - good + 1
    assert cases[-1].attrib["name"] == f"{good} other nodes, all good"
