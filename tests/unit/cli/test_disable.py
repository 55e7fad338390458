"""`puppet-twitch disable` and `enable`: the holds in Puppet's lock file, by real handlers."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.unit.cli.command import Commands
from twitch.config import DISABLE_S


def holds(commands: Commands) -> list[dict[str, Any]]:
    """Return the holds in the lock file."""
    lock = json.loads(commands.node.puppet.disabled.read_text())
    found: list[dict[str, Any]] = lock["puppet_twitch"]["holds"]
    return found


def test_puppet_is_disabled_for_a_while_and_enabled_again(commands: Commands) -> None:
    code, out, err = commands.run("disable", "CHG-123 kernel", "--for", "2h")
    assert (code, err) == (0, "")
    assert out.startswith("Puppet disabled until ")
    assert out.endswith(" (in 2 h)\n")
    [hold] = holds(commands)
    assert (hold["caller"][:5], hold["client"], hold["reason"]) == ("user:", "local", "CHG-123 kernel")
    assert hold["until"] - time.time() == pytest.approx(7200, abs=60)
    code, out, _ = commands.run("status")
    assert (code, out[:24]) == (0, "disabled: CHG-123 kernel")
    code, _, err = commands.run("trigger")
    assert (code, "CHG-123 kernel" in err) == (3, True)
    assert err.endswith("; to lift this: puppet-twitch enable\n")
    assert commands.run("enable") == (0, "Puppet enabled\n", "")
    assert not commands.node.puppet.disabled.exists()
    assert commands.run("enable") == (0, "Puppet enabled\n", "")


def test_time_is_that_of_the_configuration_if_none_is_given(commands: Commands) -> None:
    commands.run("disable", "CHG-123")
    assert holds(commands)[0]["until"] - time.time() == pytest.approx(DISABLE_S, abs=60)
    commands.node.configure("[disable]\ndefault = 1h\n")
    commands.run("disable", "CHG-124")
    [hold] = holds(commands)  # the same person again
    assert (hold["reason"], hold["until"] - time.time()) == ("CHG-124", pytest.approx(3600, abs=60))


def test_root_may_disable_without_an_end(commands: Commands) -> None:
    assert commands.run("disable", "CHG-123", "--for", "ever") == (0, "Puppet disabled without an end\n", "")
    assert holds(commands)[0]["until"] is None


def test_lock_of_another_tool_needs_force(commands: Commands) -> None:
    commands.node.puppet.disabled.write_text('{"disabled_message": "by hand"}')
    for command, force in (
        (("disable", "CHG-123"), "--force adds a hold to that"),
        (("enable",), "--force enables it all the same"),
    ):
        text = f"puppet-twitch: Puppet was not disabled by puppet-twitch: by hand; {force}\n"
        assert commands.run(*command) == (3, "", text)
    assert commands.run("disable", "CHG-123", "--force").code == 0
    assert [hold["reason"] for hold in holds(commands)] == ["by hand", "CHG-123"]
    code, out, err = commands.run("enable")
    assert (code, out) == (3, "")
    assert err.startswith("puppet-twitch: Puppet was not disabled by puppet-twitch: by hand; ")
    assert commands.run("enable", "--force") == (0, "Puppet enabled\n", "")
    assert not commands.node.puppet.disabled.exists()


def test_run_that_goes_on_is_said_or_waited_for(commands: Commands) -> None:
    commands.node.puppet.hold_runs()
    commands.run("trigger")
    code, out, _ = commands.run("disable", "CHG-123")
    assert (code, out.splitlines()[1]) == (0, "A Puppet run is still under way; --wait waits for its end")
    waiting = commands.start("disable", "CHG-123", "--wait")
    commands.node.puppet.release_run()
    done = commands.end(waiting)
    assert (done.code, done.out.count("\n")) == (0, 1)
    commands.close()  # the run is concluded
    assert [record.verdict for record in commands.node.store.newest()] == ["changed"]


OPTIONS = {
    "no-reason": ((), "the following arguments are required: REASON"),
    "empty-reason": (("",), "REASON must be a text of 1 to 200 characters on one line"),
    "two-lines": (("a\nb",), "REASON must be"),
    "no-time": (("CHG", "--for", "soon"), "--for must be a time such as 90s, 30m, 2h or 7d, or ever"),
    "zero": (("CHG", "--for", "0"), "--for must be"),
}


@pytest.mark.parametrize(("options", "text"), OPTIONS.values(), ids=OPTIONS)
def test_invalid_options_of_disable_are_named(
    commands: Commands, options: tuple[str, ...], text: str
) -> None:
    code, out, err = commands.run("disable", *options)
    assert (code, out) == (64, "")
    assert err.startswith(f"puppet-twitch: {text}")
    assert not commands.node.puppet.disabled.exists()
