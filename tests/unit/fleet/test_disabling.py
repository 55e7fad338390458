"""`disable` and `enable` on many nodes: each has one outcome; the exit status says what is not as asked."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.fleet_nodes import fleet
from tests.fleet_nodes.fleet import Fleet
from tests.fleet_nodes.scene import Fault
from tests.unit.fleet.commands import COMMAND, LIMIT_S, who
from twitch.errors import UsageError
from twitch.fleet import disabling, exits

FAULTS = dict.fromkeys(("refuse", "deny", "garbage", "disabled"), 0.1)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Fleet]:
    with fleet.start(30, faults=FAULTS, anonymous="trigger status disable") as started:
        yield started


def command(nodes: Fleet, *words: str) -> tuple[int, str]:
    done = subprocess.run([*COMMAND, *words, *who(nodes)], stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
    return done.returncode, done.stdout


def outcomes(text: str) -> dict[str, set[str]]:
    *lines, summary = map(json.loads, text.splitlines())
    found: dict[str, set[str]] = {}
    for line in lines:
        found.setdefault(line["outcome"], set()).add(line["node"])
    assert summary["outcomes"] == {outcome: len(names) for outcome, names in found.items()}
    return found


def test_disable_and_enable_say_what_became_of_each_node(nodes: Fleet) -> None:
    out_of_reach = nodes.with_fault(Fault.REFUSE, Fault.GARBAGE)
    denied, by_others = nodes.with_fault(Fault.DENY), nodes.with_fault(Fault.DISABLED)
    good = nodes.with_fault() | by_others
    assert by_others

    status, text = command(nodes, "disable", "--reason", "CHG-1 kernel", "--for", "2h", "--json")
    assert outcomes(text) == {"disabled": good, "refused": denied, "unreachable": out_of_reach}
    assert status == exits.FAILURES | exits.UNREACHABLE
    assert '"until"' in text

    status, text = command(nodes, "enable", "--json")
    expected = {
        "enabled": good - by_others,
        "held": by_others,
        "refused": denied,
        "unreachable": out_of_reach,
    }
    assert outcomes(text) == expected

    status, text = command(nodes, "enable", "--force")
    assert f"{len(good):>6} enabled\n" in text
    assert f"{len(denied):>6} refused\n" in text
    assert "another program listens there" in text


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_nodes_that_were_not_asked_after_ctrl_c(options: tuple[str, ...]) -> None:
    with fleet.start(3, faults={"hang": 1.0}, anonymous="disable") as nodes:
        process = subprocess.Popen(
            [*COMMAND, "enable", "--at-once", "1", *options, *who(nodes)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stderr
            for text in ("Enable Puppet on 3 nodes", "once more to leave"):
                assert text in process.stderr.readline()
                process.send_signal(signal.SIGINT)
            text, _ = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == exits.STOPPED | exits.UNREACHABLE
    if options:
        assert {outcome: len(names) for outcome, names in outcomes(text).items()} == {
            "unreachable": 1,
            "not asked": 2,
        }
    else:
        assert "2 not asked" in text
    # The request was sent, so the node may have done what it asks for.
    assert "asked, but interrupted by Ctrl-C before the answer" in text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["web01"], "--reason"),
        (["web01", "--reason", "a\nb"], "a reason is 1 to 200 characters"),
        (["web01", "--reason", "x", "--for", "soon"], "such as 90s, 30m, 2h or 7d"),
    ],
)
def test_invalid_command_lines_of_disable(words: list[str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        disabling.disable(words)
