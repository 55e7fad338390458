"""The lab's puppetserver: what tests write there is what agents of Puppet 7 and 8 get."""

from __future__ import annotations

import uuid

from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

AGENT = ("puppet", "agent", "--onetime", "--no-daemonize", "--detailed-exitcodes")
CHANGED = 2


def run_agent(agent: Machine, *options: str) -> tuple[int, str]:
    """Return Puppet's exit code and the job id that its report has."""
    job = uuid.uuid4().hex
    done = agent.run(*AGENT, f"--job-id={job}", *options, check=False, timeout_s=120)
    return done.returncode, job


def test_a_manifest_counts_at_the_next_run(server: PuppetServer, agent: Machine) -> None:
    for word in ("first", "second"):
        server.manifest("production", f"notify {{ '{word}': }}")
        code, job = run_agent(agent)
        report = server.reports(agent.name)[-1]
        assert (code, report["job_id"], report["status"]) == (CHANGED, job, "changed")
        assert report["environment"] == "production"
        assert word in [line["message"] for line in report["logs"]]


def test_two_runs_in_one_minute_are_two_reports(server: PuppetServer, agent: Machine) -> None:
    server.manifest("production", "")
    jobs = [run_agent(agent)[1], run_agent(agent)[1]]
    assert [report["job_id"] for report in server.reports(agent.name)[-2:]] == jobs


def test_the_server_assigns_an_environment(server: PuppetServer, agent: Machine) -> None:
    server.manifest("staging", "notify { 'of staging': }")
    server.enc({agent.name: "staging"})
    try:
        assert run_agent(agent)[0] == CHANGED
        assert server.reports(agent.name)[-1]["environment"] == "staging"
    finally:
        server.enc({})
    run_agent(agent, "--environment=production")
    assert server.reports(agent.name)[-1]["environment"] == "production"


def test_out_of_reach_and_back(server: PuppetServer, agent: Machine) -> None:
    before = len(server.reports(agent.name))
    with server.unreachable(agent):
        assert run_agent(agent, "--no-usecacheonfailure")[0] == 1
    assert len(server.reports(agent.name)) == before
    assert run_agent(agent, "--no-usecacheonfailure")[0] != 1
