"""puppet-twitch-fleet on real nodes: failures old and new, disabled nodes, an upgrade, a crash, a resume."""

from __future__ import annotations

import json

from tests.e2e import fleet_run, stub
from tests.e2e.fleet_run import COMMAND, run
from tests.lab.fleet import Site
from tests.lab.install import install

FAIL = "exec { '/bin/false': }"
NAMES = ("web1", "web2", "db1")


def test_fleet_failure_as_before_is_in_the_budget_and_new_ones_stop(three: Site) -> None:
    three.server.manifest("production", f"node 'web2' {{ {FAIL} }}\nnode default {{ }}\n")
    first = run(three, "--max-failures", "1", *NAMES)
    assert first.outcomes == {"web1": "unchanged", "web2": "failed", "db1": "unchanged"}
    assert (first.status, first.summary["failed_new"], first.summary["failed_before"]) == (0, 1, 0)

    again = run(three, "--max-failures", "0", *NAMES)
    assert (again.status, again.summary["failed_new"], again.summary["failed_before"]) == (0, 0, 1), again
    assert "1 as before" in again.output

    three.server.manifest("production", FAIL)
    stopped = run(three, "--at-once", "1", "--label", "CHG-1", "--max-failures", "0", *NAMES)
    # The first node that was good before fails now, so that of the three at least one is not started.
    assert stopped.status == 2 + 8, stopped
    assert sorted(stopped.outcomes.values()).count("not started") >= 1
    assert stopped.summary["failed_new"] == 1
    labels = {line["ask"]["label"] for line in stopped.lines if line["line"] == "plan"}
    assert labels == {"CHG-1"}


def test_fleet_disabled_node_is_listed_and_breaks_nothing(three: Site) -> None:
    reason = "broken disk, Ann is on it"
    three.operator(COMMAND, "disable", "--yes", "--reason", reason, "--for", "1h", "db1")
    assert reason in three.nodes["db1"].read("/var/cache/puppet/state/agent_disabled.lock")
    assert reason in three.operator(COMMAND, "status", "db1", "web1").stdout
    result = run(three, "--max-failures", "0", "db1", "web1")
    assert (result.status, result.outcomes) == (0, {"db1": "disabled", "web1": "unchanged"})
    assert reason in result.nodes["db1"]["error"]
    three.operator(COMMAND, "enable", "--yes", "db1")
    assert not three.nodes["db1"].exists("/var/cache/puppet/state/agent_disabled.lock")


def test_fleet_upgrade_of_a_node_that_is_followed(three: Site) -> None:
    node = three.nodes["web1"]
    fleet_run.hold(three, "web1")
    begun = fleet_run.Started(three, "web1")
    begun.await_event("web1", "running")
    fleet_run.await_held(node)
    install(node)  # the listener is restarted
    stub.release(node)
    result = begun.end()
    assert (result.status, result.outcomes) == (0, {"web1": "changed"}), result
    assert result.nodes["web1"]["event"] == "proven"
    log = three.operator(COMMAND, "log", "--from", result.file).stdout
    assert any(line.startswith("web1") and "Exec[hold]" in line for line in log.splitlines()), log


def test_fleet_command_killed_and_resumed_runs_nothing_twice(three: Site) -> None:
    fleet_run.hold(three, "web1", "web2")
    began = {}

    def killed_and_resumed() -> None:
        begun = fleet_run.Started(three, "--at-once", "2", *NAMES)
        for name in ("web1", "web2"):
            fleet_run.await_held(three.nodes[name])
        began.update({name: begun.await_event(name, "running")["run"] for name in ("web1", "web2")})
        begun.kill()
        for name in ("web1", "web2"):
            stub.release(three.nodes[name])
        result = run(three, "--from", begun.file)
        assert (result.status, set(result.outcomes)) == (0, set(NAMES)), result
        assert {name: result.nodes[name]["run"] for name in began} == began
        assert {line["event"] for line in result.nodes.values()} == {"proven"}

    runs = fleet_run.started_by(three.nodes["web1"], killed_and_resumed)
    assert runs == {began["web1"]}


def test_fleet_operator_without_a_grant_is_refused(three: Site) -> None:
    # The certificate of the puppetserver is of the same CA, and in no [access].
    ssl = "/var/lib/puppet/ssl"
    files = ("--cert", f"{ssl}/certs/puppet.pem", "--key", f"{ssl}/private_keys/puppet.pem")
    words = (
        COMMAND,
        "run",
        "--yes",
        *files,
        "--ca",
        f"{ssl}/certs/ca.pem",
        "--json",
        "refused.jsonl",
        "web1",
    )
    done = three.machine.run(*words, check=False, timeout_s=120)
    assert done.returncode == 2, done
    lines = [json.loads(line) for line in three.machine.read("refused.jsonl").splitlines()]
    (last,) = (line for line in lines if line.get("outcome"))
    assert (last["outcome"], "run" in last) == ("refused", False)
