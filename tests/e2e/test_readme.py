"""README.md is right: its first answer, the URLs of its table, and the commands in its console blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
CONSOLE = re.findall(r"```console\n(.*?)```", README, re.DOTALL)

# Commands that begin so are run by other tests, or by nobody but a person.
ELSEWHERE = (
    *("make ", "apt ", "dpkg ", "rpm ", "puppet "),  # test_demo, test_node_install, test_module_*
    *("systemctl stop puppet-twitch.socket", "puppet-twitch listen"),  # test_node_foreground
    *("ssl=", "curl --cert"),  # test_access_tls
    *("curl -X POST", "curl http://localhost:2023/puppet/runs/last"),  # test_agent_verdicts
    "check_http ",  # not in the images; its statuses are those of HTTP
    *("editor ", "cp ", "mv "),
    *("curl -H @FILE", "curl -X POST -H @FILE"),  # test_agent_progress, test_agent_cancel
    "curl -X POST",  # test_disable
    "puppet-twitch cancel",  # test_node_commands
    *("puppet-twitch-fleet ", "git diff"),  # test_fleet_run
)
# The examples of README.md, and what they are on this node.
EXAMPLES = {"token:deploy": "anonymous", "192.0.2.7": "127.0.0.1"}


def commands() -> list[str]:
    """Return what follows a prompt, without the explanation beside it."""
    lines = [line for block in CONSOLE for line in block.splitlines() if line.startswith(("$ ", "# "))]
    texts = {line[2:].split("   ")[0].strip() for line in lines}
    return sorted(command for command in texts if not command.startswith(ELSEWHERE))


def urls() -> list[str]:
    """Return the paths and queries of the table: `http://node:2023/…`, or `…/…` for short."""
    return sorted(set(re.findall(r"`(?:curl )?(?:http://node:2023|…)(/[^`]*)`", README)))


@pytest.fixture(scope="module")
def run(node12: Machine) -> Iterator[str]:
    """Return the id of a run that has ended, on a node that lets anybody do anything."""
    stub.clear(node12)
    # A journal of earlier tests would only make each command below slow.
    node12.sh("journalctl --rotate --vacuum-size=1M --quiet")
    node12.write("/etc/puppet/site.pp", "notify { 'hello': }\n")
    node12.write(
        stub.CONFIG,
        "[access]\nanonymous = trigger noop tags environment=* status logs metrics\ncooldown = 0\n"
        "[puppet]\ncommand = apply\nmanifest = /etc/puppet/site.pp\n",
    )
    node12.sh("systemctl enable puppet-twitch.socket")
    # A refusal, which the listener logs when it ends at the latest.
    node12.curl("http://127.0.0.1:2023/no/such/thing")
    node12.run("systemctl", "stop", "puppet-twitch.service")
    node12.wait("journalctl -t puppet-twitch -g ^refused")
    reply = node12.curl("http://127.0.0.1:2023/puppet/twitch?async=false")
    run = str(reply.headers["Puppet-Run"])
    stub.end_of(node12, run)
    node12.run("journalctl", "--sync")  # the commands of README find its end
    yield run
    stub.clear(node12)


def with_id(text: str, run: str) -> str:
    return re.sub(r"(?<=[=/])ID\b", run, text)


def test_readme_has_the_command_that_ci_runs() -> None:
    command = (REPOSITORY / ".ci/run").read_text().strip().rpartition("exec ")[2]
    assert command == "make test"
    assert f"`{command}`" in README


def test_tables_and_blocks_are_found() -> None:
    assert len(commands()) >= 5
    assert len(urls()) >= 8


@pytest.mark.parametrize("url", urls())
def test_url_is_answered(node12: Machine, run: str, url: str) -> None:
    node12.wait(lambda: node12.curl("/puppet/status").body == "idle\n")
    assert node12.curl(with_id(url, run), timeout_s=90).status in (200, 202)


def test_first_answer_is_the_real_one(node12: Machine, run: str) -> None:
    node12.wait(lambda: node12.curl("/puppet/status").body == "idle\n")
    reply = node12.curl("/puppet/twitch")
    assert f" {reply.status} " in CONSOLE[0]
    assert reply.body in CONSOLE[0]
    location = reply.headers["Location"].removesuffix(reply.headers["Puppet-Run"])
    assert f"Location: {location}" in CONSOLE[0]


@pytest.fixture
def script(node12: Machine) -> str:
    """Return the path of README's script on the node."""
    (text,) = re.findall(r"```sh\n(#!/bin/sh\n# ./run-puppet .*?)```", README, re.DOTALL)
    node12.write("/root/run-puppet", text, 0o755)
    return "/root/run-puppet"


def run_puppet(machine: Machine, script: str, *nodes: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run README's script; return its exit status, and of each node the status and the text."""
    done = machine.sh(f"printf '%s\\n' {' '.join(nodes)} | {script}", check=False, timeout_s=120)
    lines = (line.split(" ", 2) for line in done.stdout.splitlines())
    return done.returncode, {node: (status, text) for status, node, text in lines}


def test_script_for_many_nodes_has_every_outcome(
    node12: Machine, node13: Machine, run: str, script: str
) -> None:
    stub.clear(node13)
    stub.real_puppet(node13, "exec { '/bin/false': }\n")
    failing, disabled, unreachable = node13.name, node12.name, "extra"
    node12.run("puppet", "agent", "--disable", "maintenance")
    node12.wait(lambda: node12.curl("/puppet/status").body.startswith("disabled"))
    code, outcomes = run_puppet(node12, script, failing, disabled, unreachable)
    assert (code, len(outcomes)) == (123, 3)
    assert outcomes[failing][0] == "500"
    assert outcomes[failing][1].startswith("Puppet run failed: Exec[/bin/false]")
    assert outcomes[disabled] == ("423", "Puppet disabled: maintenance")
    assert outcomes[unreachable][0] == "000"
    assert outcomes[unreachable][1].startswith("curl: (")
    node12.run("puppet", "agent", "--enable")
    node12.wait(lambda: node12.curl("/puppet/status").body.startswith("idle"))
    assert run_puppet(node12, script, "localhost") == (0, {"localhost": ("200", "Puppet run complete")})
    stub.clear(node13)


def test_script_without_nodes_runs_nothing(node12: Machine, script: str) -> None:
    # As from cron, or with an empty file. Bounded, because the script would start itself again and again.
    done = node12.run("systemd-run", "--quiet", "--pipe", "--property=TasksMax=20",
                      "--property=RuntimeMaxSec=50", script, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_script_waits_on_when_the_listener_is_restarted(node12: Machine, run: str, script: str) -> None:
    configuration = node12.read(stub.CONFIG)
    stub.real_puppet(node12, stub.HOLD)
    stub.hold_runs(node12)
    asking = node12.popen("/bin/sh", "-c", f"echo localhost | {script}")
    node12.wait(f"test -e {stub.HELD}")
    node12.run("systemctl", "restart", "puppet-twitch.service")
    node12.wait("ss -Htn state established '( dport = :2023 )' | grep -q .")
    stub.release(node12)
    output, _ = asking.communicate(timeout=60)
    node12.write(stub.CONFIG, configuration)
    assert output.startswith("200 localhost ")
    assert "200 localhost changed: " in output


@pytest.mark.parametrize("command", commands())
def test_command_works(node12: Machine, run: str, command: str) -> None:
    for example, here in EXAMPLES.items():
        command = command.replace(example, here)
    if command.startswith("puppet-twitch trigger"):  # the run of another command may go on
        node12.wait("puppet-twitch status | grep -q ^idle")  # the listener remembers its answer for a second
    done = node12.sh(with_id(command, run), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if command.startswith(("journalctl", "curl")):
        assert done.stdout.strip()
        assert "No entries" not in done.stdout
