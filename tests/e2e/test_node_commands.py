"""The commands of a person at the node, on a real machine: without the port, in the name of the person."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e import stub
from tests.e2e.test_readme import README
from tests.lab.machine import Machine

BRIEF = "/etc/profile.d/puppet-twitch.sh"
# What pam_loginuid does at a login. Every process after it inherits the number, as through sudo and su.
AS_ALICE = "echo $(id -u alice) >/proc/self/loginuid && exec"


@pytest.fixture
def node(clean_node12: Machine) -> Iterator[Machine]:
    """Return a node without the port, on which alice can log in."""
    clean_node12.run("systemctl", "stop", "puppet-twitch.socket", "puppet-twitch.service")
    clean_node12.sh("id alice >/dev/null 2>&1 || useradd alice")
    yield clean_node12
    clean_node12.run("rm", "-f", BRIEF)


def test_person_starts_a_run_and_reads_it_without_the_port(node: Machine) -> None:
    stub.real_puppet(node, "notify { 'hello': }\n")
    done = node.sh(f"{AS_ALICE} puppet-twitch trigger --noop --wait")
    first, *shown = done.stdout.splitlines()
    run = first.removeprefix("Triggered puppet run ")
    assert len(run) == 32
    assert any("would change" in line for line in shown)
    [asked, *_] = node.journal(f"TWITCH_RUN={run}", "_UID=0")
    assert (asked["TWITCH_CALLER"], asked["TWITCH_CLIENT"]) == ("user:alice", "local")
    assert node.run("puppet-twitch", "runs").stdout.splitlines()[1].startswith(run[:8])
    assert node.run("puppet-twitch", "run", run[:4]).stdout.splitlines()[:-1] == shown[:-1]
    fields = json.loads(node.run("puppet-twitch", "run", "--json").stdout)
    # What a caller over HTTP sees that may see everything.
    node.run("systemctl", "start", "puppet-twitch.socket")
    node.write(stub.CONFIG, "[access]\nanonymous = status logs\n")
    over_http = json.loads(node.curl(f"/puppet/runs/{run}", "-HAccept: application/json").body)
    for name in ("run", "verdict", "reason", "would_change", "counts", "ended"):
        assert fields.get(name) == over_http.get(name), name
    assert (fields["caller"], fields["client"]) == ("user:alice", "local")


def test_run_is_followed_to_its_verdict(node: Machine) -> None:
    stub.real_puppet(node, "notify { 'hello': } -> exec { 'echo to the log && false': path => '/bin' }\n")
    done = node.run("puppet-twitch", "trigger", "--follow", check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, lines[-1][:10]) == (1, "", "# failed: ")
    assert any(line.endswith("(notice): hello") or "defined 'message' as 'hello'" in line for line in lines)
    # The same lines afterwards.
    assert node.run("puppet-twitch", "log").stdout.splitlines() == lines[1:]
    *errors, verdict = node.run("puppet-twitch", "log", "--level", "err").stdout.splitlines()
    assert (bool(errors), verdict) == (True, lines[-1])
    assert all(" (err): " in line for line in errors)


def test_exit_codes_of_a_run_and_of_a_refusal(node: Machine) -> None:
    stub.real_puppet(node, "exec { '/bin/false': }\n")
    failed = node.run("puppet-twitch", "trigger", "--wait", check=False)
    assert (failed.returncode, "Exec[/bin/false]" in failed.stdout) == (1, True)
    stub.stub_puppet(node)
    stub.hold_runs(node)
    node.run("puppet-twitch", "trigger")
    node.wait(f"test -e {stub.HELD}")
    assert node.run("puppet-twitch", "status").stdout.startswith("running")
    busy = node.run("puppet-twitch", "trigger", check=False)
    assert (busy.returncode, busy.stderr[:37]) == (3, "puppet-twitch: Puppet already running")
    stub.release(node)
    node.run("puppet-twitch", "run", "current", "--wait", check=False)


def test_person_cancels_the_queued_run_and_the_one_under_way(node: Machine) -> None:
    stub.real_puppet(node, stub.HOLD)
    stub.hold_runs(node)
    run, queued = (
        node.run("puppet-twitch", "trigger", *more).stdout.split()[-1] for more in ((), ("--queue", "--noop"))
    )
    node.wait(f"test -e {stub.HELD}")
    waiting = node.popen("puppet-twitch", "run", queued, "--wait")
    done = node.run("puppet-twitch", "cancel", queued[:8], "--wait")
    assert done.stdout.startswith("Puppet run cancelled: not attempted: cancelled by user:")
    assert waiting.wait(60) == 2
    waiting = node.popen("puppet-twitch", "log", "-f")
    done = node.run("puppet-twitch", "cancel", "--wait")
    assert done.stdout.startswith("Puppet run cancelled: interrupted: cancelled by user:")
    assert "; still running: " in done.stdout
    output, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, output.splitlines()[-1][:14]) == (2, "# interrupted:")
    again = node.run("puppet-twitch", "cancel", run, check=False)
    assert (again.returncode, "has ended before" in again.stderr) == (3, True)


def test_text_of_a_command_without_the_run_socket_is_its_fix(node: Machine) -> None:
    node.run("systemctl", "stop", "puppet-twitch-run.socket")
    done = node.run("puppet-twitch", "status", check=False)
    assert (done.returncode, done.stdout) == (69, "")
    fix = done.stderr.rpartition("; ")[2].strip()
    node.sh(fix)
    assert node.run("puppet-twitch", "status").stdout.startswith("idle\n")


def test_commands_of_another_user_name_sudo(node: Machine) -> None:
    done = node.run("runuser", "-u", "alice", "--", "puppet-twitch", "runs", check=False)
    text = "puppet-twitch: runs needs root: sudo puppet-twitch runs\n"
    assert (done.returncode, done.stdout, done.stderr) == (77, "", text)


def test_login_of_root_hears_of_a_disabled_agent_only(node: Machine, profile: str) -> None:
    node.write(BRIEF, profile)
    stub.real_puppet(node, "notify { 'hello': }\n")
    node.run("puppet-twitch", "trigger", "--wait")
    login = ("bash", "--login", "-c", "exit 0")
    assert node.run(*login).stdout == ""
    node.run("puppet-twitch", "disable", "CHG-123", "--for", "2h")
    try:
        # A login waits five seconds for root, and no longer on a busy node.
        node.wait(lambda: "CHG-123" in node.run(*login).stdout)
        assert node.run("runuser", "-u", "alice", "--", *login).stdout == ""
    finally:
        node.run("puppet-twitch", "enable")
    assert node.run(*login).stdout == ""


@pytest.fixture
def profile() -> str:
    """Return README's file for a login."""
    return f"# {BRIEF}\n" + README.partition(f"```sh\n# {BRIEF}\n")[2].partition("```")[0]


def test_colours_on_a_terminal_only(node: Machine) -> None:
    node.run("puppet-twitch", "disable", "CHG-123")
    on_terminal = "script --quiet --return --command 'puppet-twitch status' /dev/null"
    try:
        assert "\033[31mdisabled\033[0m" in node.sh(f"TERM=xterm {on_terminal}").stdout
        assert "\033" not in node.sh(f"TERM=xterm NO_COLOR=1 {on_terminal}").stdout
        assert "\033" not in node.sh("TERM=xterm puppet-twitch status").stdout
    finally:
        node.run("puppet-twitch", "enable")


def test_bash_completes_from_the_installed_file(node: Machine) -> None:
    script = "/usr/share/bash-completion/completions/puppet-twitch"
    lines = (f"source {script}", "COMP_WORDS=(puppet-twitch run ''); COMP_CWORD=2", "_puppet_twitch")
    offered = node.run("bash", "-c", "; ".join((*lines, 'echo "${COMPREPLY[@]}"'))).stdout.split()
    assert {"current", "last"} <= set(offered)
