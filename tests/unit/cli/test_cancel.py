"""`puppet-twitch cancel`: what is refused, and with which exit status. Units are in the end-to-end tests."""

from __future__ import annotations

from tests.unit.cli.command import Commands, run_id
from tests.unit.processes import live


def test_run_that_cannot_be_stopped_is_an_error(commands: Commands) -> None:
    commands.node.puppet.hold_runs()
    commands.run("trigger")
    code, out, err = commands.run("cancel", run_id(1)[:4])  # here, runs are in no unit of systemd
    commands.node.puppet.release_run()
    assert (code, out) == (1, "")
    assert err.startswith("puppet-twitch: Puppet run cannot be cancelled: process ")


def test_run_that_has_ended_is_not_cancelled(commands: Commands) -> None:
    commands.run("trigger", "--wait")
    code, out, err = commands.run("cancel", "last")
    assert (code, out) == (3, "")
    assert err.startswith("puppet-twitch: Puppet run has ended before: changed")


def test_nothing_to_cancel_is_an_error(commands: Commands) -> None:
    text = "puppet-twitch: No Puppet run is under way\n"
    assert commands.run("cancel") == (1, "", text)
    assert commands.run("cancel", "--force") == (1, "", text)


def test_run_of_another_tool_needs_force(commands: Commands) -> None:
    with live(commands.node.puppet.directory, "puppet-agent") as pid:
        commands.node.puppet.lock.write_text(str(pid))
        code, out, err = commands.run("cancel")
    assert (code, out) == (3, "")
    assert err.startswith(
        "puppet-twitch: The run under way was not started by puppet-twitch; --force stops it"
    )
    assert f"(pid {pid}, " in err


def test_id_of_no_run_is_named(commands: Commands) -> None:
    assert commands.run("cancel", "4444").code == 1
    assert commands.run("cancel", "no").code == 64
