"""`puppet-twitch status`: the words of the API, the exit statuses, and the line at a login."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.command import Commands, on_terminal, run_id


def test_status_of_an_idle_node(commands: Commands) -> None:
    assert commands.run("status") == (0, "idle\n", "")


def test_status_of_a_disabled_node_is_no_failure_of_the_command(commands: Commands) -> None:
    commands.node.puppet.disabled.write_text('{"disabled_message": "CHG-123 \\u001b[2J"}')
    # Control characters of a reason do not reach the terminal.
    assert commands.run("status") == (0, "disabled: CHG-123 \\x1b[2J\n", "")


def test_status_has_the_last_run_in_the_time_of_the_node(commands: Commands) -> None:
    commands.environment["TZ"] = "UTC-5:45"
    commands.run("trigger", "--wait")
    record = commands.node.store.newest()[0]
    code, out, _ = commands.run("status")
    assert code == 0
    assert "last run: changed; unreported, ended " in out
    # Nepal is 5:45 ahead; the minute of the run's end is shown in its time.
    ended = int(record.ended or 0) + 5 * 3600 + 45 * 60
    assert f" {ended // 3600 % 24:02}:{ended // 60 % 60:02}:" in out
    assert "ago)" in out or "(now)" in out


def test_json_of_the_status_is_that_of_the_api(commands: Commands) -> None:
    commands.run("trigger", "--wait")
    fields = json.loads(commands.run("status", "--json").out)
    assert (fields["state"], fields["last"]["verdict"]) == ("idle", "changed")
    assert fields["last"]["ended"].endswith("Z")  # RFC 3339
    assert "complaint" not in fields


def test_check_exits_1_where_the_api_answers_503(commands: Commands) -> None:
    assert commands.run("status", "--check") == (1, "Puppet has not run yet\n", "")
    commands.run("trigger", "--wait")
    code, out, _ = commands.run("status", "--check", "--max-age", "1h")
    assert (code, out.split("\n")[0]) == (0, "idle")
    assert commands.run("status", "--check").code == 0
    code, out, _ = commands.run("status", "--check", "--json")
    assert (code, json.loads(out)["complaint"]) == (0, None)
    commands.node.puppet.disabled.write_text('{"disabled_message": "CHG-123"}')
    assert commands.run("status", "--check") == (1, "Puppet is disabled: CHG-123\n", "")
    code, out, _ = commands.run("status", "--check", "--json")
    assert (code, json.loads(out)["complaint"]) == (1, "Puppet is disabled: CHG-123")


def test_brief_says_nothing_of_a_good_node(commands: Commands) -> None:
    assert commands.run("status", "--brief") == (0, "", "")
    commands.run("trigger", "--wait")
    assert commands.run("status", "--brief") == (0, "", "")


def test_brief_says_that_puppet_is_failing_or_disabled(commands: Commands) -> None:
    commands.ends = "1"
    commands.node.puppet.lock.parent.joinpath("made-in-the-run").touch()
    commands.run("trigger", "--wait")
    code, out, _ = commands.run("status", "--brief")
    assert (code, out.count("\n"), out[:21]) == (0, 1, "The last Puppet run w")
    commands.node.puppet.disabled.write_text('{"disabled_message": "CHG-123"}')
    assert commands.run("status", "--brief") == (0, "Puppet is disabled: CHG-123\n", "")


def test_state_has_a_colour_on_a_terminal_only(commands: Commands) -> None:
    commands.node.puppet.disabled.write_text('{"disabled_message": "CHG-123"}')
    assert "\033" not in commands.run("status").out
    assert on_terminal(commands, "status") == "\033[31mdisabled\033[0m: CHG-123\n"
    commands.environment["NO_COLOR"] = "1"
    assert on_terminal(commands, "status") == "disabled: CHG-123\n"
    commands.environment["NO_COLOR"], commands.environment["TERM"] = "", "dumb"
    assert on_terminal(commands, "status") == "disabled: CHG-123\n"


def test_puppet_that_cannot_be_asked_is_an_error(commands: Commands) -> None:
    commands.node.configure("[puppet]\npath = /nowhere/puppet\n")
    code, out, err = commands.run("status")
    assert (code, out) == (1, "")
    assert err.startswith("puppet-twitch: Puppet cannot be asked: ")
    assert "/nowhere/puppet" in err


def test_invalid_configuration_is_named(commands: Commands) -> None:
    commands.node.etc.joinpath("puppet-twitch/puppet-twitch.conf").write_text("[acess]\n")
    code, out, err = commands.run("status")
    assert (code, out) == (78, "")
    assert err.startswith("puppet-twitch: /etc/puppet-twitch/puppet-twitch.conf: [acess]: unknown section")


def test_missing_run_socket_is_named_with_its_fix(commands: Commands) -> None:
    commands.close()
    text = "The handler cannot be reached (No such file or directory); "
    fix = "systemctl restart puppet-twitch-run.socket"
    assert commands.run("status") == (69, "", f"puppet-twitch: {text}{fix}\n")


OPTIONS = {
    "max-age": (["--max-age", "soon"], "--max-age must be a time such as 90s, 30m, 2h or 7d"),
    "two-forms": (["--json", "--brief"], "argument --brief: not allowed with argument --json"),
    "unknown": (["--verbose"], "unrecognized arguments: --verbose"),
}


@pytest.mark.parametrize(("options", "text"), OPTIONS.values(), ids=OPTIONS)
def test_invalid_options_of_status_are_named(commands: Commands, options: list[str], text: str) -> None:
    code, out, err = commands.run("status", *options)
    assert (code, out) == (64, "")
    assert err.startswith(f"puppet-twitch: {text}")


def test_status_of_a_run_under_way(commands: Commands) -> None:
    commands.node.puppet.hold_runs()
    commands.run("trigger")
    try:
        code, out, _ = commands.run("status")
    finally:
        commands.node.puppet.release_run()
    assert code == 0
    assert out.startswith(f"running: run {run_id(1)}, pid ")
