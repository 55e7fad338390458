from __future__ import annotations

from twitch.fleet.events import Ask, Change, NodeEvent, Plan
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.changes import nodes_with, place_of, rows_of
from twitch.fleet.show.results import Results

MOTD = Change("File[/etc/motd]", "changed", ("content",), "/etc/puppet/code/environments/x/site.pp", 12)


def results_of(changes: dict[str, tuple[Change, ...]], *, noop: bool = False) -> Results:
    results = Results()
    results.add(Plan(0.0, tuple(changes), Ask(noop=noop), "", 20, 0, 0, None, 1))
    for node, of_node in changes.items():
        results.add(NodeEvent(1.0, node, "ended", node, Outcome.CHANGED, changes=of_node))
    return results


def test_a_row_has_the_nodes_with_the_same_change() -> None:
    other = MOTD._replace(properties=("mode",))
    rows = rows_of(results_of({"a": (MOTD,), "b": (MOTD, other), "c": ()}))
    assert [(row.resource, row.properties, row.nodes) for row in rows] == [
        ("File[/etc/motd]", ("content",), ("a", "b")),
        ("File[/etc/motd]", ("mode",), ("b",)),
    ]


def test_a_title_with_the_name_of_its_node_is_one_row() -> None:
    rows = rows_of(results_of({f"n{at}": (Change(f"File[/etc/n{at}.pem]", "changed"),) for at in range(3)}))
    assert [(row.resource, len(row.nodes)) for row in rows] == [("File[/etc/NODE.pem]", 3)]


def test_a_place_is_the_same_in_every_environment() -> None:
    places = {
        "/etc/puppetlabs/code/environments/x/modules/ntp/manifests/init.pp": "ntp/manifests/init.pp:3",
        "/etc/puppet/code/environments/feature_x/manifests/site.pp": "manifests/site.pp:3",
        "/etc/puppet/code/modules/ntp/manifests/init.pp": "ntp/manifests/init.pp:3",
        "/srv/site.pp": "/srv/site.pp:3",
    }
    for file, place in places.items():
        assert place_of(Change("A[b]", "changed", (), file, 3)) == place
    assert place_of(Change("A[b]", "changed")) == ""


def test_failures_are_first_and_skipped_resources_last() -> None:
    outcomes = ("skipped", "changed", "failed")
    changes = tuple(Change(f"A[{outcome}]", outcome) for outcome in outcomes)
    rows = rows_of(results_of({"a": changes, "b": changes[:2]}))
    assert [(row.outcome, row.urgent) for row in rows] == [
        ("failed", True), ("changed", False), ("skipped", False)
    ]  # fmt: skip


def test_a_change_in_a_dry_run_was_applied_although_noop() -> None:
    would = MOTD._replace(outcome="would change")
    rows = rows_of(results_of({"a": (would,), "b": (would, MOTD)}, noop=True))
    assert [(row.outcome, row.applied) for row in rows] == [("changed", True), ("would change", False)]


def test_the_few_nodes_without_a_change_are_named() -> None:
    other = Change("Service[x]", "changed")
    nodes: dict[str, tuple[Change, ...]] = {f"n{at:02}": (MOTD, other) for at in range(40)}
    nodes["n07"] = (other,)
    by_resource = {row.resource: row for row in rows_of(results_of(nodes))}
    assert by_resource["File[/etc/motd]"].missing == ("n07",)
    assert by_resource["Service[x]"].missing == ()


def test_a_long_table_has_one_row_for_the_titles_of_one_place() -> None:
    many = tuple(MOTD._replace(resource=f"File[/srv/{at}]") for at in range(40))
    results = results_of({"a": many, "b": many[:1]})
    (row,) = rows_of(results)
    assert row.resource == "File (40 titles, such as /srv/0)"
    assert row.nodes == ("a", "b")
    assert len(rows_of(results, merge=False)) == 40
    assert nodes_with(results, "File[/srv/0]") == ["a", "b"]
    assert nodes_with(results, "File[/srv/39]") == ["a"]
    assert nodes_with(results, "File[/srv/40]") is None


def test_a_resource_that_a_run_names_twice_is_one_node() -> None:
    (row,) = rows_of(results_of({"a": (MOTD, MOTD)}))
    assert row.nodes == ("a",)
