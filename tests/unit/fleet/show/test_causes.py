from __future__ import annotations

from typing import Optional

from hypothesis import given
from hypothesis import strategies as st

from twitch.fleet.events import Change
from twitch.fleet.outcomes import Outcome
from twitch.fleet.show.blanking import blank, common, without_name
from twitch.fleet.show.causes import causes_of, line_of
from twitch.fleet.show.results import NodeResult


def failed(
    name: str, error: Optional[str], *changes: Change, outcome: Outcome = Outcome.FAILED
) -> NodeResult:
    node = NodeResult(name)
    node.outcome, node.error, node.changes = outcome, error, changes
    return node


def full(name: str, number: int) -> NodeResult:
    return failed(
        name,
        f"File[/etc/app.conf]: no space left for {name}, pid {number}, in /tmp/puppet-{number}/x",
        Change("File[/etc/motd]", "changed"),
        Change("File[/etc/app.conf]", "failed"),
        Change("Service[app]", "skipped"),
    )


def test_a_cause_is_the_first_failing_resource_and_its_message_without_what_differs() -> None:
    (cause,) = causes_of([full("web1.example.net", 17), full("web2.example.net", 4711)])
    assert cause.text == "File[/etc/app.conf]: no space left for NODE, pid N, in /tmp/puppet-…"
    assert cause.nodes == ("web1.example.net", "web2.example.net")


def test_values_of_a_property_are_no_part_of_the_cause() -> None:
    # As Puppet 8.10 logs it for a file whose owner does not exist.
    error = "change from '{sha256}27a1' to '{sha256}ffd3' failed: Could not find user app"
    nodes = [failed(name, error, Change("File[/etc/app.conf]", "failed")) for name in ("a", "b")]
    assert causes_of(nodes)[0].text == "File[/etc/app.conf]: Could not find user app"
    assert line_of(nodes[0]) == "File[/etc/app.conf]: Could not find user app"


def test_a_message_that_is_the_same_everywhere_is_shown_as_it_is() -> None:
    error = "Could not evaluate: /usr/bin/apt-get returned 100 at 10:17 on 192.0.2.7"
    (cause,) = causes_of([failed("a", error), failed("b", error)])
    assert cause.text == error


def test_the_cause_of_most_nodes_is_the_first() -> None:
    causes = causes_of([failed("a", "one"), failed("b", "two"), failed("c", "two")])
    assert [(cause.text, len(cause.nodes)) for cause in causes] == [("two", 2), ("one", 1)]


def test_outcomes_are_causes_of_their_own() -> None:
    nodes = [failed("a", "x"), failed("b", "x", outcome=Outcome.REFUSED), NodeResult("c")]
    assert [cause.outcome for cause in causes_of(nodes)] == [Outcome.FAILED, Outcome.REFUSED]


def test_a_failure_without_a_message_has_its_outcome_as_cause() -> None:
    assert causes_of([failed("a", None)])[0].text == "failed"
    change = Change("Exec[x]", "failed to restart")
    assert causes_of([failed("a", None, change)])[0].text == "Exec[x]: failed"


def test_what_a_node_says_around_the_reason_is_no_part_of_the_cause() -> None:
    tail = "; journalctl _SYSTEMD_INVOCATION_ID=5d0c1f6be09a4e3e8f5a2b0f4f0f9d11"
    causes = {
        f"Puppet run failed: File[/etc/x]: no space{tail}": ("File[/etc/x]", "no space"),
        f"Puppet run failed: Twitch::Drop_in[a]{tail}": ("Twitch::Drop_in[a]", "failed"),
        f"Puppet run failed: not attempted: no catalog{tail}": (None, "no catalog"),
        f"Puppet run failed{tail}": (None, "Puppet run failed"),
        "Exec[a [b]]: returned 1": ("Exec[a [b]]", "returned 1"),
    }
    for error, (resource, message) in causes.items():
        (cause,) = causes_of([failed("n", error)])
        assert (cause.resource, cause.message) == (resource, message)


def test_the_message_of_a_resource_is_preferred_to_the_error_of_the_run() -> None:
    change = Change("Exec[x]", "failed", message="returned 1")
    assert causes_of([failed("a", "Exec[x]: y", change)])[0].text == "Exec[x]: returned 1"


def test_a_message_is_one_line_without_control_characters_and_not_endless() -> None:
    (cause,) = causes_of([failed("n", "\x1b[31mred\n  and " + "x" * 1000)])
    assert cause.message.startswith("\\x1b[31mred and xxx")
    assert len(cause.message) < 500


def test_the_name_of_a_node_is_blanked_with_and_without_its_domain() -> None:
    text = "web01.example.net and web01: no route to web011"
    assert without_name(text, "web01.example.net") == "NODE and NODE: no route to web011"
    assert without_name("the web service", "web.example.net") == "the web service"
    assert without_name("/etc/ssl/web01.example.net.pem", "web01.example.net") == "/etc/ssl/NODE.pem"
    assert without_name("a failed at a, a-b", "a") == "NODE failed at NODE, a-b"
    assert without_name("aa a", "a") == "aa NODE"


def test_paths_ids_and_numbers_are_blanked() -> None:
    assert blank("run 5d0c1f6be09a4e3e8f5a2b0f4f0f9d11 of /var/lib/x: 3 of 4") == "run ID of PATH: N of N"
    assert blank("added or/and decade C:\\Temp\\x1 at 10.0.0.7:8140") == "added or/and decade PATH at N"
    assert blank("0bd6ae4c-0d1c-4a8e-9b3e-52f6a1d0a1b2 is gone") == "ID is gone"


def test_only_what_differs_is_blanked_in_equal_messages() -> None:
    assert common(["exit 1 after 30 s", "exit 1 after 31 s"]) == "exit 1 after N s"
    assert common(["/etc/a/x1 is full", "/var/b/y2 is full"]) == "PATH is full"
    assert common(["5 N", "N 5"]) == "N N"


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_any_messages_can_be_grouped(messages: list[str]) -> None:
    causes = causes_of([failed(f"n{at}", message) for at, message in enumerate(messages)])
    assert sum(len(cause.nodes) for cause in causes) == len(messages)
