"""Real agents against a real puppetserver: the verdict of every way that a run can end, on Puppet 7 and 8.

Those with a mark run on OpenVox 9, too.

Each test first makes Puppet do something, and then compares the answer, the record, the journal and the
server's report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import stub
from tests.e2e.systems import every_agent
from tests.lab.curl import Reply
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

README = Path(__file__).resolve().parents[2] / "README.md"
CONSOLE = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
CONFIG = "/etc/puppet-twitch/puppet-twitch.conf"
# All options, Puppet's messages in answers, and no cooldown between runs.
GENEROUS = "[access]\nanonymous = trigger noop tags environment=* status logs\ncooldown = 0\n"

STATE = "/var/cache/puppet/state"
DEFAULTS = "/etc/default/puppet"


@pytest.fixture
def node(agent: Machine, server: PuppetServer) -> Iterator[Machine]:
    """Return an enrolled idle node; restore its files and the server's defaults afterwards."""
    agent.write(CONFIG, GENEROUS)
    server.manifest("production", "")
    with stub.kept(agent, DEFAULTS, "/etc/puppet/puppet.conf"):
        yield agent
    server.enc({})
    server.manifest("production", "")


def run(node: Machine, query: str = "") -> Reply:
    """Trigger a run and wait for its end."""
    return node.curl(f"/puppet/twitch?async=false{query}", timeout_s=300)


def record(node: Machine, reply: Reply) -> dict[str, object]:
    content: dict[str, object] = json.loads(
        node.curl(f"/puppet/runs/{reply.headers['Puppet-Run']}", "-H", "Accept: application/json").body
    )
    return content


@every_agent
def test_run_id_is_the_same_in_answer_journal_and_report(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", "notify { 'one id': }")
    reply = node.curl("/puppet/twitch")
    assert (reply.status, reply.body) == (202, "Triggered puppet run")
    run_id = reply.headers["Puppet-Run"]
    ended = node.curl(f"/puppet/runs/{run_id}?wait=180", timeout_s=240)
    assert ended.headers["Puppet-Verdict"] == "changed"
    assert server.reports(node.name)[-1]["job_id"] == run_id
    lines = [line["MESSAGE"] for line in node.journal(f"_SYSTEMD_INVOCATION_ID={run_id}")]
    assert any("one id" in line for line in lines), lines
    agent = node.journal(f"_SYSTEMD_INVOCATION_ID={run_id}", "SYSLOG_IDENTIFIER=puppet-agent")
    assert {line["_SYSTEMD_UNIT"].startswith("puppet-twitch-run@") for line in agent} == {True}


def test_changed_then_unchanged(node: Machine, server: PuppetServer) -> None:
    node.sh("rm -f /root/managed")
    server.manifest("production", "file { '/root/managed': content => 'x' }")
    first, second = run(node), run(node)
    assert (first.status, first.body) == (200, "Puppet run complete")
    assert first.headers["Puppet-Verdict"] == "changed"
    assert (second.status, second.headers["Puppet-Verdict"]) == (200, "unchanged")
    assert [report["status"] for report in server.reports(node.name)[-2:]] == ["changed", "unchanged"]


def test_failed_resources_are_named(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", "exec { '/bin/false': }\nfile { '/no/such/place': content => 'x' }")
    reply = run(node)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")
    assert reply.body.startswith("Puppet run failed: Exec[/bin/false], File[/no/such/place]")
    assert record(node, reply)["counts"]["failed"] == 2  # type: ignore[index]


@every_agent
def test_catalog_that_does_not_compile_is_failed(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", "no_such_type { 'x': }")
    reply = run(node)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")
    assert "no catalog was applied" in reply.body
    assert "no_such_type" in reply.body  # Puppet's message, for callers with the grant `logs`
    node.write(CONFIG, "[access]\ncooldown = 0\n")
    assert "no_such_type" not in run(node).body


def test_unreachable_server_is_failed_not_a_cached_success(node: Machine, server: PuppetServer) -> None:
    assert run(node).status == 200  # leaves a catalog in the cache
    with server.unreachable(node):
        reply = run(node)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")


def test_environment_overruled_by_the_server_is_failed(node: Machine, server: PuppetServer) -> None:
    server.enc({node.name: "staging"})
    asked = run(node, "&environment=production")
    assert (asked.status, asked.headers["Puppet-Verdict"]) == (500, "failed")
    assert "no catalog of environment production was applied" in asked.body
    assert "assigns another one" in asked.body
    plain = run(node)
    assert plain.status == 200
    status = node.curl("/puppet/status", "-H", "Accept: application/json")
    assert json.loads(status.body)["state"] == "idle"
    assert server.reports(node.name)[-1]["environment"] == "staging"
    # Puppet begins its next run in the environment of the last one (use_last_environment).
    node.sh("rm /var/cache/puppet/public/last_run_summary.yaml")


def test_nonexistent_environment_is_failed(node: Machine) -> None:
    reply = run(node, "&environment=nosuch")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")


def test_environment_and_tags_take_effect(node: Machine, server: PuppetServer) -> None:
    server.manifest("staging", "notify { 'wanted': tag => 'mine' }\nnotify { 'unwanted': }")
    reply = run(node, "&environment=staging&tags=mine")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (200, "changed")
    report = server.reports(node.name)[-1]
    assert report["environment"] == "staging"
    messages = [log["message"] for log in report["logs"]]
    assert "wanted" in messages
    assert "unwanted" not in messages


PENDING = """\
file { ['/root/managed', '/root/managed2']: content => 'x', mode => '0600', notify => Exec['/bin/true'] }
exec { '/bin/true': refreshonly => true }
"""


@pytest.mark.parametrize("reports", [True, False], ids=["report", "no-report"])
def test_noop_changes_nothing_and_counts_pending_changes(
    node: Machine, server: PuppetServer, *, reports: bool
) -> None:
    if not reports:
        node.sh("echo 'report = false' >>/etc/puppet/puppet.conf")
    node.sh("rm -f /root/managed*")
    server.manifest("production", PENDING)
    reply = run(node, "&noop=true")
    verdict = f"unchanged; noop; 2 would change{'' if reports else '; unreported'}"
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (200, verdict)
    assert not node.exists("/root/managed")
    assert record(node, reply)["would_change"] == 2
    # The caller hears of the end before it is logged.
    ended = ("_UID=0", f"TWITCH_RUN={reply.headers['Puppet-Run']}", "TWITCH_VERDICT=unchanged")
    (line,) = node.wait(lambda: node.journal(*ended))
    assert line["MESSAGE"].endswith(f": {verdict}")
    assert node.curl("/puppet/runs").body.splitlines()[1].split("  ")[2] == verdict
    # `noop => false` wins over noop.
    server.manifest("production", PENDING + "notify { 'now': noop => false }")
    assert run(node, "&noop=true").headers["Puppet-Verdict"] == verdict.replace("unchanged", "changed")


def test_noop_of_the_site_takes_effect(node: Machine, server: PuppetServer) -> None:
    node.sh("rm -f /root/managed")
    node.write(DEFAULTS, "PUPPET_EXTRA_OPTS=--noop\n")
    server.manifest("production", "file { '/root/managed': content => 'x' }")
    assert run(node).headers["Puppet-Verdict"] == "unchanged; noop; 1 would change"
    assert not node.exists("/root/managed")


UNREPORTED = {
    "changed": ("notify { 'a': }", 200, "changed; unreported"),
    "unchanged": ("", 200, "unchanged; unreported"),
    "failed": ("exec { '/bin/false': }", 500, "failed; unreported"),
    "no catalog": ("no_such_type { 'x': }", 500, "failed; unreported"),
}


@every_agent
@pytest.mark.parametrize(("manifest", "status", "verdict"), UNREPORTED.values(), ids=UNREPORTED)
def test_verdict_without_a_report(
    node: Machine, server: PuppetServer, manifest: str, status: int, verdict: str
) -> None:
    node.sh("echo 'report = false' >>/etc/puppet/puppet.conf")
    server.manifest("production", manifest)
    reply = run(node)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (status, verdict)


@every_agent
@pytest.mark.parametrize("reports", [True, False], ids=["report", "no-report"])
def test_stopped_run_is_interrupted(node: Machine, server: PuppetServer, *, reports: bool) -> None:
    if not reports:
        node.sh("echo 'report = false' >>/etc/puppet/puppet.conf")
    server.manifest("production", "exec { '/bin/sleep 300': timeout => 0 }")
    started = node.curl("/puppet/twitch")
    left = node.wait("pgrep -fx '/bin/sleep 300'").strip()
    node.sh("systemctl stop 'puppet-twitch-run@*'", timeout_s=180)
    ended = node.curl(f"/puppet/runs/{started.headers['Puppet-Run']}?wait=180", timeout_s=240)
    assert ended.headers["Puppet-Verdict"] == ("interrupted" if reports else "interrupted; unreported")
    # Puppet leaves the children of an exec behind (KillMode=process, as in puppet.service), and the reason
    # says so.
    assert ended.status == 500
    assert "told to stop before it was done; still running: " in ended.body
    assert f"sleep (pid {left}, " in ended.body
    recorded = stub.record(node, str(ended.headers["Puppet-Run"]))
    assert int(left) in [process["pid"] for process in recorded["left_running"]]
    node.run("kill", left)


def test_disabled_agent_gets_423_with_its_reason(node: Machine) -> None:
    node.run("puppet", "agent", "--disable", "maintenance until noon")
    reply = run(node)
    assert (reply.status, reply.body) == (423, "Puppet disabled: maintenance until noon\n")
    assert node.curl("/puppet/status").body == "disabled: maintenance until noon\n"
    node.run("puppet", "agent", "--enable")
    node.wait(lambda: run(node).status == 200)  # the listener remembers a refusal for a second


def test_dependency_cycle_is_failed_and_named(node: Machine, server: PuppetServer) -> None:
    server.manifest(
        "production", "notify { 'a': require => Notify['b'] }\nnotify { 'b': require => Notify['a'] }"
    )
    reply = run(node)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")
    assert "Puppet gave up before the end of its catalog: Notify[a], Notify[b]" in reply.body


def test_run_beyond_runtimeout_is_failed(node: Machine, server: PuppetServer) -> None:
    # Long enough for facts and catalog on a busy machine.
    node.sh("printf '[agent]\\nruntimeout = 30\\n' >>/etc/puppet/puppet.conf")
    server.manifest("production", "exec { '/bin/sleep 300': timeout => 0 }")
    reply = run(node)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")
    assert "Puppet gave up before the end of its catalog" in reply.body
    node.sh("kill $(pgrep -fx '/bin/sleep 300')")


def test_report_in_another_place_is_read(node: Machine, server: PuppetServer) -> None:
    node.write(DEFAULTS, "PUPPET_EXTRA_OPTS=--lastrunreport /root/elsewhere.yaml\n")
    server.manifest("production", "notify { 'a': }")
    assert run(node).headers["Puppet-Verdict"] == "changed"


def test_max_age_reports_a_run_that_was_not_attempted(node: Machine) -> None:
    assert run(node).status == 200
    assert node.curl("/puppet/status?max_age=1h").status == 200
    node.write(DEFAULTS, "PUPPET_EXTRA_OPTS=--no-such-option\n")
    assert run(node).headers["Puppet-Verdict"] == "not attempted"
    reply = node.curl("/puppet/status?max_age=1h")
    assert (reply.status, "not attempted" in reply.body) == (503, True), reply.body


def test_run_stopped_by_a_reboot_sends_its_report(node: Machine, server: PuppetServer) -> None:
    server.manifest("production", "exec { '/bin/sh -c \"touch /root/begun; exec sleep 300\"': timeout => 0 }")
    node.sh("rm -f /root/begun; systemctl enable puppet-twitch.socket")
    stopped = node.curl("/puppet/twitch").headers["Puppet-Run"]
    node.wait("test -e /root/begun")
    node.reboot()
    last = server.reports(node.name)[-1]
    assert (last["job_id"], last["status"]) == (stopped, "failed")
    server.manifest("production", "")
    assert run(node).headers["Puppet-Verdict"] == "unchanged"
    node.run("systemctl", "disable", "puppet-twitch.socket")


# -- what happened to the resources -------------------------------------------------------------

BRANCH = "/root/branch"


@every_agent
def test_details_of_a_run_and_noop_of_a_branch(node: Machine, server: PuppetServer) -> None:
    """Run a branch, change what it has made, and ask what it would change: README's example."""
    node.sh(f"rm -f {BRANCH}")
    file = f"file {{ '{BRANCH}': content => 'x' }}\n"
    server.manifest("feature_x", f"{file}exec {{ '/bin/false': }}\n-> notify {{ 'after': }}\n")
    reply = run(node, "&environment=feature_x&label=CHG-123")
    found = record(node, reply)
    resources: list[dict[str, Any]] = found["resources"]  # type: ignore[assignment]
    assert [(one["resource"], one["outcome"], one["line"]) for one in resources] == [
        ("Exec[/bin/false]", "failed", 2),
        (f"File[{BRANCH}]", "changed", 1),
        ("Notify[after]", "skipped", 3),
    ]
    assert "returned 1" in resources[0]["events"][0]["message"]
    assert resources[1]["file"].endswith("/feature_x/manifests/site.pp")
    # The rest is for named callers only.
    path = f"/var/lib/puppet-twitch/runs/{found['run']}.json"
    node.wait(f"test -e {path}")
    found = json.loads(node.read(path))
    report = server.reports(node.name)[-1]
    for name in ("transaction_uuid", "puppet_version", "corrective_change"):
        assert found[name] == report[name]
    assert found.get("server_used") == report.get("server_used")  # which is set with `server_list` only
    assert found["label"] == "CHG-123"
    assert found["configuration_version"] == str(report["configuration_version"])
    assert found["events"] == {"success": 1, "failure": 1, "noop": 0}
    assert {"plugin_sync", "fact_generation", "config_retrieval"} <= set(found["phases_s"])
    labels = {line.get("TWITCH_LABEL") for line in node.journal(f"TWITCH_RUN={found['run']}", "_UID=0")}
    assert labels == {"CHG-123"}

    node.write(BRANCH, "y")
    server.manifest("feature_x", file)
    (block,) = (text for text in CONSOLE if "/puppet/runs/last" in text)
    trigger, last = re.findall(r"^\$ (curl .*)$", block, re.MULTILINE)
    answers = [node.sh(command, timeout_s=300).stdout for command in (trigger, last)]
    assert answers[0] == "Puppet run complete"
    assert normal(answers[1]) == normal(block.partition(f"{last}\n")[2])


def normal(text: str) -> str:
    """Return an answer without what differs from run to run, and from Puppet to Puppet."""
    text = re.sub(r"\{sha256\}[0-9a-f]+…?", "HASH", text)
    text = re.sub(r"content changed 'HASH' to|current_value 'HASH', should be", "CHANGED", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"/etc/puppet(labs)?/code", "CODE", text)
    return re.sub(r"\d+m? ?\d*s\b|\d{4}-\S+Z|\d+(?= as they)", "TIME", text)
