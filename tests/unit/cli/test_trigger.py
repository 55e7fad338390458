"""`puppet-twitch trigger`: real handlers, and the exit status for each answer and verdict."""

from __future__ import annotations

import json
import signal

import pytest

from tests.unit.cli.command import Commands, on_terminal, run_id
from tests.unit.processes import live
from twitch.records import Options


def test_trigger_starts_a_run_and_prints_its_id(commands: Commands) -> None:
    assert commands.run("trigger") == (0, f"Triggered puppet run {run_id(1)}\n", "")
    commands.close()
    [record] = commands.node.store.newest()
    assert (record.run, record.verdict) == (run_id(1), "changed")
    assert (record.caller[:5], record.client, record.options) == ("user:", "local", Options())


def test_options_of_a_run(commands: Commands) -> None:
    options = ("--noop", "--tags", "ntp,ssh", "--environment", "feature_x", "--label", "CHG-123")
    commands.run("trigger", *options)
    commands.close()
    [run] = commands.node.puppet.runs()
    assert run["argv"][-4:] == [
        "--noop",
        "--tags=ntp,ssh",
        "--environment=feature_x",
        "--strict_environment_mode",
    ]
    assert commands.node.store.newest()[0].label == "CHG-123"


def test_trigger_has_no_cooldown(commands: Commands) -> None:
    assert commands.run("trigger", "--wait").code == 0
    assert commands.run("trigger", "--wait").code == 0


ENDS = {"2": (0, "changed"), "6": (1, "failed"), "1": (3, "not attempted")}


@pytest.mark.parametrize(("status", "end"), ENDS.items())
def test_wait_shows_the_run_and_exits_as_it_ended(
    commands: Commands, status: str, end: tuple[int, str]
) -> None:
    commands.ends = status
    done = commands.run("trigger", "--wait")
    lines = done.out.splitlines()
    assert (done.code, lines[0], done.err) == (end[0], f"Triggered puppet run {run_id(1)}", "")
    assert lines[1].startswith(end[1])
    assert lines[-1].startswith(f"run {run_id(1)} by user:")


def test_reason_of_a_refusal_does_not_reach_the_terminal_as_it_is(commands: Commands) -> None:
    # The lock is in a directory of user puppet, and the terminal is root's.
    commands.node.puppet.disabled.write_text(json.dumps({"disabled_message": "\x1b]0;x\x07\x9b2J\u202e"}))
    done = commands.run("trigger")
    assert (done.code, done.out) == (3, "")
    assert r"Puppet disabled: \x1b]0;x\x07\x9b2J\u202e; to lift this" in done.err


def test_terminal_hears_how_to_wait(commands: Commands) -> None:
    commands.environment["NO_COLOR"] = "1"
    assert on_terminal(commands, "trigger").splitlines() == [
        f"Triggered puppet run {run_id(1)}",
        f"To follow its log: puppet-twitch log -f {run_id(1)[:8]}",
    ]


def test_busy_node_and_its_queue(commands: Commands) -> None:
    commands.node.puppet.hold_runs()
    assert commands.run("trigger").code == 0
    code, out, err = commands.run("trigger")
    assert (code, out) == (3, "")
    assert err.startswith(f"puppet-twitch: Puppet already running: run {run_id(1)} of user:")
    assert err.endswith("; to start a run afterwards: --queue\n")
    assert commands.run("trigger", "--queue") == (0, f"Queued puppet run {run_id(3)}\n", "")
    assert commands.run("trigger", "--queue") == (0, f"Queued puppet run {run_id(3)}\n", "")
    code, out, err = commands.run("trigger", "--queue", "--noop")
    assert (code, out) == (3, "")
    assert "a different request waits: run 3000" in err
    commands.node.puppet.release_run()
    assert commands.run("run", run_id(1), "--wait").code == 0
    commands.node.puppet.release_run()


def test_run_that_puppet_has_started_is_busy(commands: Commands) -> None:
    with live(commands.node.puppet.directory, "puppet-agent") as pid:
        commands.node.puppet.lock.write_text(str(pid))
        code, _, err = commands.run("trigger")
    assert code == 3
    assert err.startswith("puppet-twitch: Puppet already running: started elsewhere, since ")
    assert f"pid {pid}" in err


def test_disabled_node_says_why_and_how_to_enable_it(commands: Commands) -> None:
    commands.node.puppet.disabled.write_text('{"disabled_message": "CHG-123 \\u001b[2J"}')
    text = "Puppet disabled: CHG-123 \\x1b[2J; to lift this: puppet-twitch enable --force"
    assert commands.run("trigger") == (3, "", f"puppet-twitch: {text}\n")


def test_puppet_that_cannot_be_started_is_an_error(commands: Commands) -> None:
    commands.node.configure("[puppet]\npath = /nowhere/puppet\n")
    code, out, err = commands.run("trigger")
    assert (code, out) == (1, "")
    assert err.startswith("puppet-twitch: Puppet cannot be started: ")


def test_ctrl_c_leaves_the_run_alone(commands: Commands) -> None:
    commands.node.puppet.hold_runs()
    process = commands.start("trigger", "--wait")
    assert process.stdout
    line = process.stdout.readline()  # from here on it waits
    assert line.decode() == f"Triggered puppet run {run_id(1)}\n"
    process.send_signal(signal.SIGINT)
    code, _, err = commands.end(process)
    text = f"The run goes on; to follow its log: puppet-twitch log -f {run_id(1)[:8]}"
    assert (code, err) == (130, f"{text}\n")
    commands.node.puppet.release_run()
    commands.close()
    [record] = commands.node.store.newest()
    assert record.verdict == "changed"


OPTIONS = {
    "label": ("--label=CHG 123", "--label must be 1 to 40 letters, digits and ._:-"),
    "tag-that-is-an-option": ("--tags=-a", "--tags must be up to 50 tags of letters"),
    "tag-that-is-empty": ("--tags=a,,b", "--tags must be up to 50 tags of letters"),
    "environment": ("--environment=a b", "--environment must be a name of letters, digits and _"),
    "abbreviated": ("--env=a", "unrecognized arguments: --env=a"),
    "word": ("now", "unrecognized arguments: now"),
}


@pytest.mark.parametrize(("option", "text"), OPTIONS.values(), ids=OPTIONS)
def test_invalid_options_of_trigger_are_named(commands: Commands, option: str, text: str) -> None:
    code, out, err = commands.run("trigger", option)
    assert (code, out) == (64, "")
    assert err.startswith(f"puppet-twitch: {text}")
    assert commands.node.puppet.runs() == []
