"""Verdicts and reasons at sites that are not like the lab, with a real Puppet 7 and 8.

What failed is named from facts: a report in YAML or JSON, the level and the source of a line in the journal,
a file that is missing. No text of Puppet decides anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import stub
from tests.lab.curl import Reply
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

GENEROUS = "anonymous = trigger noop tags environment=* status logs\n"
STATE = "/var/cache/puppet/state"
PUPPET_CONF, ROUTES, DEFAULTS = "/etc/puppet/puppet.conf", "/etc/puppet/routes.yaml", "/etc/default/puppet"
MODULE = "/etc/puppet/code/modules/cases"

# A resource that cannot generate others is counted as failed nowhere.
GENFAIL = """\
Puppet::Type.newtype(:genfail) do
  newparam(:name, namevar: true)
  def generate
    raise Puppet::Error, 'cannot list what is there'
  end
end
"""
BROKEN_FACT = "Facter.add(:broken) { setcode { raise 'not installed here' } }\n"
HOSTILE = r"""
exec { "x\nresource: File[/etc/forged]\nfailed: true\nx": command => '/bin/false' }
exec { "? z\n- level: err": command => '/bin/false' }
notify { "ok\nresource: File[/etc/forged]\nfailed: true\nx": }
"""


def run(node: Machine, query: str = "") -> Reply:
    """Trigger a run and wait for its end."""
    return node.curl(f"/puppet/twitch?async=false{query}", timeout_s=150)


def record(node: Machine, reply: Reply) -> dict[str, Any]:
    """Return the record of a run as a caller with the grant `logs` reads it."""
    path = f"/puppet/runs/{reply.headers['Puppet-Run']}"
    found: dict[str, Any] = json.loads(node.curl(path, "-H", "Accept: application/json").body)
    return found


# -- masterless ---------------------------------------------------------------------------------


@pytest.fixture
def masterless(node: Machine) -> Iterator[Machine]:
    stub.clear(node)
    node.write(f"{MODULE}/lib/puppet/type/genfail.rb", GENFAIL)
    node.write(f"{MODULE}/lib/facter/broken.rb", BROKEN_FACT)
    with stub.kept(node, PUPPET_CONF, ROUTES):
        yield node
    node.run("rm", "-rf", MODULE)
    stub.clear(node)


def apply(node: Machine, manifest: str) -> Reply:
    """Apply a manifest by a trigger."""
    stub.real_puppet(node, manifest, access=GENEROUS)
    return run(node)


def test_case_9_resource_that_cannot_generate_is_named(masterless: Machine) -> None:
    reply = apply(masterless, "genfail { 'x': } notify { 'a': }")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")
    assert "error of /Stage[main]/Main/Genfail[x]" in reply.body
    assert "cannot list what is there" in reply.body  # this caller has the grant `logs`


@pytest.mark.parametrize("more", ["notify { 'a': }", ""], ids=["changes", "no-changes"])
def test_case_9_resource_that_cannot_generate_fails_without_reports(masterless: Machine, more: str) -> None:
    # Exit status 2, or 0, and a summary that knows nothing of it.
    masterless.write(PUPPET_CONF, "[main]\nreport = false\n")
    reply = apply(masterless, f"genfail {{ 'x': }} {more}")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed; unreported")
    assert "error of /Stage[main]/Main/Genfail[x]" in reply.body
    assert record(masterless, reply)["error"].endswith("cannot list what is there")


def test_case_9_errors_of_good_runs_fail_no_run_without_reports(masterless: Machine) -> None:
    # A fact that raises, and a change that the manifest wants to be logged as an error.
    masterless.write(PUPPET_CONF, "[main]\nreport = false\n")
    reply = apply(masterless, "notify { 'a': loglevel => err }\nerr('by a function')")
    errors = masterless.journal(f"_SYSTEMD_INVOCATION_ID={reply.headers['Puppet-Run']}", "--priority=err")
    assert len(errors) >= 3
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (200, "changed; unreported")


def test_cases_10_and_37_error_and_names_are_those_of_the_failed_resources(masterless: Machine) -> None:
    reply = apply(masterless, HOSTILE)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")
    names = "Exec[x resource: File[/etc/forged] failed: true x], Exec[? z - level: err]"
    assert reply.body.startswith(f"Puppet run failed: {names}: ")
    assert "'/bin/false' returned 1" in record(masterless, reply)["error"]
    assert "not installed here" not in reply.body


def test_case_10_manifest_that_does_not_compile_has_failed(masterless: Machine) -> None:
    # Puppet writes no report of it, and its first error is Facter's.
    reply = apply(masterless, "no_such_type { 'x': }")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")
    assert "no catalog was applied" in reply.body
    assert "no_such_type" in record(masterless, reply)["error"]


def test_case_11_report_in_json_is_read(masterless: Machine) -> None:
    masterless.write(ROUTES, "---\napply: {report: {cache: json}}\n")
    reply = apply(masterless, "exec { '/bin/false': }")
    assert masterless.read(f"{STATE}/last_run_report.yaml").startswith("{")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")
    assert reply.body.startswith("Puppet run failed: Exec[/bin/false]: ")
    assert record(masterless, reply)["counts"]["failed"] == 1


def test_case_29_files_of_user_puppet_cost_nothing(masterless: Machine) -> None:
    apply(masterless, "")
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi")
    )
    masterless.write("/root/bomb", bomb)
    summary, report = "/var/cache/puppet/public/last_run_summary.yaml", f"{STATE}/last_run_report.yaml"
    for place in (f"mkfifo {summary} {report}", f"ln -s /dev/zero {summary}", f"cp /root/bomb {summary}"):
        masterless.sh(f"rm -f {summary} {report}; {place}")
        masterless.sh("rm -f /run/puppet-twitch/runs/*")
        reply = masterless.wait(lambda: masterless.curl("/puppet/status", timeout_s=60))
        assert (reply.status, reply.body) == (200, "idle\n")
    masterless.sh(f"rm -f {summary} {report}")


def test_case_31_report_is_handed_over_in_a_directory_of_user_puppet(masterless: Machine) -> None:
    apply(masterless, "notify { 'a': }")
    shown = masterless.sh(f"stat -c '%U %a %F' {STATE}/last_run_report.yaml; ls {STATE}").stdout
    assert shown.startswith("root 640 regular file\n")
    assert "puppet-twitch" not in shown


def test_case_35_puppet_is_asked_without_colour(masterless: Machine) -> None:
    stub.real_puppet(masterless, "", access=GENEROUS)
    masterless.write(PUPPET_CONF, "[main]\nruntimeout = soon\ncolor = ansi\n")
    reply = masterless.wait(lambda: run(masterless))
    assert (reply.status, "soon" in reply.body) == (500, True)
    assert "[1;31m" not in reply.body and "x1b" not in reply.body


# -- with a puppetserver ------------------------------------------------------------------------


@pytest.fixture
def enrolled(agent: Machine, server: PuppetServer) -> Iterator[Machine]:
    stub.clear(agent)
    agent.write(stub.CONFIG, f"[access]\n{GENEROUS}cooldown = 0\n")
    server.manifest("production", "")
    with stub.kept(agent, PUPPET_CONF, DEFAULTS, ROUTES):
        yield agent
    server.enc({})
    server.manifest("production", "")
    stub.clear(agent)


def configure(node: Machine, text: str) -> None:
    """Add lines to puppet.conf, in the section of the agent."""
    node.write(PUPPET_CONF, f"{node.read(PUPPET_CONF)}[agent]\n{text}\n")


def test_case_11_report_of_an_agent_in_json_is_read(enrolled: Machine, server: PuppetServer) -> None:
    enrolled.write(ROUTES, "---\nagent: {report: {cache: json}}\n")
    server.manifest("production", "exec { '/bin/false': }")
    reply = run(enrolled)
    assert enrolled.read(f"{STATE}/last_run_report.yaml").startswith("{")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")
    assert "Exec[/bin/false]" in reply.body


def test_case_12_no_cause_is_named_that_was_not_seen(enrolled: Machine, server: PuppetServer) -> None:
    configure(enrolled, "prerun_command = /bin/false")
    reason = record(enrolled, run(enrolled, "&environment=staging"))["reason"]
    assert reason == "no catalog of environment staging was applied"  # it was there
    configure(enrolled, "prerun_command =")
    reason = record(enrolled, run(enrolled, "&environment=nosuch"))["reason"]
    assert reason == "no catalog of environment nosuch was applied"  # it was not asked for
    server.enc({enrolled.name: "production"})
    reason = record(enrolled, run(enrolled, "&environment=staging"))["reason"]
    assert reason.startswith("no catalog of environment staging was applied; the server ")
    assert "assigns another one" in reason


def test_case_13_node_without_a_signed_certificate_is_named(enrolled: Machine) -> None:
    # The CA of the lab signs any request, but none with another name in it.
    name = f"unsigned-{enrolled.name}"
    enrolled.write(
        PUPPET_CONF, f"[main]\nserver = puppet\ncertname = {name}\ndns_alt_names = elsewhere.example.com\n"
    )
    enrolled.write(DEFAULTS, "PUPPET_EXTRA_OPTS=--waitforcert=500\n")
    reply = run(enrolled)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "not attempted")
    command = f"puppetserver ca sign --certname {name}"
    assert f"this node has no signed certificate; sign it on the server: {command}" in reply.body


def test_node_that_has_never_reached_its_server_is_not_told_to_be_signed(
    enrolled: Machine, server: PuppetServer
) -> None:
    enrolled.write(PUPPET_CONF, "[main]\nserver = puppet\nssldir = /root/empty-ssl\n")
    with server.unreachable(enrolled):
        reply = run(enrolled)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "not attempted")
    assert "has not fetched the CA's from the puppetserver" in reply.body
    found = enrolled.run("puppet-twitch", "check", check=False).stdout
    assert "so no agent run can begin" in found
    assert "fix: see why the agent does not reach its puppetserver: puppet agent -t" in found


def test_case_14_one_outage_has_one_verdict(enrolled: Machine, server: PuppetServer) -> None:
    with server.unreachable(enrolled):
        alone = run(enrolled)
        configure(enrolled, "server_list = puppet:8140,puppet:8141")
        listed = run(enrolled)
    for reply in (alone, listed):
        assert (reply.status, reply.headers["Puppet-Verdict"]) == (500, "failed")
        assert record(enrolled, reply)["reason"] == "no catalog was applied"
        assert record(enrolled, reply)["error"]


def test_case_16_triggered_run_fetches_a_catalog(enrolled: Machine, server: PuppetServer) -> None:
    assert run(enrolled).headers["Puppet-Verdict"] == "unchanged"  # so that there is a cached one
    configure(enrolled, "use_cached_catalog = true")
    server.manifest("production", "notify { 'fetched': }")
    reply = run(enrolled)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (200, "changed")
