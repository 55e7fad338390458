"""Puppet missing, broken or replaced, an invalid puppet.conf, an odd report: the answer and the verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

REPORT, SUMMARY = f"{stub.STUB}/last_run_report.yaml", f"{stub.STUB}/last_run_summary.yaml"


def runs_again(node: Machine) -> None:
    """See that the next trigger is a run once the stub is whole again."""
    stub.stub_puppet(node)
    stub.runs_again(node)


# -- the command --------------------------------------------------------------------------------

COMMANDS = {
    "missing": (f"rm {stub.STUB}/puppet", "no puppet at "),
    "not executable": (f"chmod a-x {stub.STUB}/puppet", "is not an executable file"),
    "a directory": (f"rm {stub.STUB}/puppet; mkdir {stub.STUB}/puppet", "is not an executable file"),
    "without its interpreter": (f"sed -i '1s,.*,#!/no/ruby,' {stub.STUB}/puppet", "cannot be executed"),
    "of another machine": (f"printf '\\177ELF' >{stub.STUB}/puppet", "cannot be executed"),
    "empty": (f": >{stub.STUB}/puppet", "cannot be executed"),
    "broken": (f"printf '#!/bin/sh\\necho no gems >&2; exit 1' >{stub.STUB}/puppet", "no gems"),
}


@pytest.mark.parametrize(("command", "reason"), COMMANDS.values(), ids=COMMANDS)
def test_puppet_that_cannot_be_executed_gets_500(stub_node12: Machine, command: str, reason: str) -> None:
    assert stub_node12.curl("/puppet/status").body == "idle\n"  # its settings have been read
    stub_node12.sh(command)
    reply = stub.trigger(stub_node12)
    assert (reply.status, reason in reply.body) == (500, True), reply
    stub_node12.sh(f"rm -rf {stub.STUB}/puppet")
    runs_again(stub_node12)


def test_interpreter_missing_after_settings_is_not_attempted(stub_node12: Machine) -> None:
    # The command's file is unchanged, so the missing interpreter shows only when it is executed.
    stub_node12.sh(f"cp /bin/sh {stub.STUB}/sh && sed -i '1s,.*,#!{stub.STUB}/sh,' {stub.STUB}/puppet")
    stub.end_of(stub_node12, stub.started(stub_node12))
    stub_node12.sh(f"rm {stub.STUB}/sh")
    record = stub.end_of(stub_node12, stub.started(stub_node12))
    assert record["verdict"] == "not attempted"
    assert record["reason"] == f"{stub.STUB}/puppet cannot be executed: No such file or directory"
    runs_again(stub_node12)


def test_puppet_replaced_during_a_run(stub_node12: Machine) -> None:
    run = stub.hold(stub_node12)
    # As packages do: a new file with the old name.
    stub_node12.sh(
        f"cp {stub.STUB}/puppet {stub.STUB}/new && echo 'echo new >>{stub.STUB}/log' >>{stub.STUB}/new"
    )
    stub_node12.sh(f"mv {stub.STUB}/new {stub.STUB}/puppet")
    assert stub.trigger(stub_node12).status == 409
    stub.release(stub_node12)
    stub.end_of(stub_node12, run)
    second = stub.started(stub_node12)
    stub.end_of(stub_node12, second)
    assert stub.stub_log(stub_node12) == [*stub.in_order(run, second), "new"]


def test_puppet_removed_during_a_run(stub_node12: Machine) -> None:
    run = stub.hold(stub_node12)
    stub_node12.run("rm", f"{stub.STUB}/puppet")
    stub_node12.wait(lambda: stub.trigger(stub_node12).status == 500)  # "busy" is remembered for a second
    stub.release(stub_node12)
    stub.end_of(stub_node12, run)
    assert stub.stub_log(stub_node12) == stub.in_order(run)


# -- puppet.conf, with Puppet itself ------------------------------------------------------------


@pytest.fixture
def puppet_conf(stub_node12: Machine) -> Iterator[Machine]:
    stub.real_puppet(stub_node12, "notify { 'a change': }\n", access=stub.WITH_REASONS)
    stub_node12.run("cp", "-a", "/etc/puppet/puppet.conf", "/root/puppet.conf")
    yield stub_node12
    stub_node12.run("mv", "/root/puppet.conf", "/etc/puppet/puppet.conf")


@pytest.mark.parametrize("line", ["[agent", "[agent]\nthis is none"], ids=["section", "line"])
def test_puppet_conf_with_a_broken_line(puppet_conf: Machine, line: str) -> None:
    # Puppet logs it and uses the rest of the file, as it does by hand.
    puppet_conf.write("/etc/puppet/puppet.conf", f"{line}\n")
    assert stub.end_of(puppet_conf, stub.started(puppet_conf))["verdict"] == "changed"


def test_puppet_conf_with_an_invalid_value_gets_500(puppet_conf: Machine) -> None:
    puppet_conf.write("/etc/puppet/puppet.conf", "[agent]\nruntimeout = banana\n")
    reply = stub.trigger(puppet_conf)
    assert reply.status == 500
    assert reply.body.startswith("Puppet cannot be started: /usr/bin/puppet config print does not tell ")
    assert "banana" in reply.body
    assert puppet_conf.curl("/puppet/status").status == 500
    puppet_conf.run("cp", "-a", "/root/puppet.conf", "/etc/puppet/puppet.conf")
    stub.end_of(puppet_conf, stub.started_when_fixed(puppet_conf))


# -- what a run leaves --------------------------------------------------------------------------

RESOURCE = """\
  Notify[{number}]:
    title: '{number}'
    file:
    resource: Notify[{number}]
    resource_type: Notify
    evaluation_time: 0.001
    failed: false
    changed: true
"""
WHOLE = """\
--- !ruby/object:Puppet::Transaction::Report
host: node12
time: '2026-01-01T00:00:00.000000000+00:00'
transaction_completed: true
environment: production
metrics:
  resources:
    name: resources
    label: Resources
    values:
    - - changed
      - Changed
      - 1
resource_statuses:
{resources}status: changed
job_id: {run}
"""


def leaves(node: Machine, script: str, code: int) -> None:
    """Make runs end with this script and exit status; the file `whole` is a report of the run."""
    whole = WHOLE.format(resources=RESOURCE.format(number=1), run="@RUN@")
    node.write(f"{stub.STUB}/whole", whole)
    node.write(
        f"{stub.STUB}/last_act",
        f'cd {stub.STUB}\nsed -i "s/@RUN@/$run/" whole\n{script}\nexit {code}\n',
    )
    node.sh(f"echo '. {stub.STUB}/last_act' >>{stub.STUB}/puppet")


def verdict_of_a_run(node: Machine) -> tuple[str, bool]:
    record = stub.end_of(node, stub.started(node))
    return record["verdict"], record["unreported"]


def test_whole_report(stub_node12: Machine) -> None:
    leaves(stub_node12, f"mv whole {REPORT}", 2)
    assert verdict_of_a_run(stub_node12) == ("changed", False)


SUMMARY_OF_NOW = (
    "printf 'time:\\n  transaction_evaluation: 1\\n  last_run: %s\\nresources:\\n  changed: 1\\n'"
    f" $(date +%s) >{SUMMARY}"
)


@pytest.mark.parametrize("size", ["0", "1", "100", "300", "-60", "-1"])
def test_truncated_report_leaves_the_verdict_to_the_summary(stub_node12: Machine, size: str) -> None:
    # The report has no run id, so the verdict is from summary and exit status, and is marked so.
    leaves(stub_node12, f"head -c {size} whole >{REPORT}; {SUMMARY_OF_NOW}", 2)
    assert verdict_of_a_run(stub_node12) == ("changed", True)
    runs_again(stub_node12)


@pytest.mark.parametrize(
    ("code", "verdict"), [(0, "interrupted"), (1, "failed"), (2, "changed"), (6, "failed")]
)
def test_truncated_report_without_a_summary(stub_node12: Machine, code: int, verdict: str) -> None:
    # Without a summary nothing shows that the run was completed.
    leaves(stub_node12, f"head -c 300 whole >{REPORT}", code)
    assert verdict_of_a_run(stub_node12) == (verdict, True)


def test_report_of_random_bytes(stub_node12: Machine) -> None:
    leaves(stub_node12, f"head -c 1000000 /dev/urandom >{REPORT}; {SUMMARY_OF_NOW}", 0)
    assert verdict_of_a_run(stub_node12) == ("unchanged", True)
    assert stub_node12.curl("/puppet/status").status == 200


def test_report_of_50_megabytes(stub_node12: Machine) -> None:
    resource = RESOURCE.format(number="$1")
    stub_node12.write(f"{stub.STUB}/one", resource.replace("$1", "x" * 60))
    leaves(
        stub_node12,
        f"{{ sed '/^resource_statuses/q' whole; yes \"$(cat one)\" | head -c 52428800; echo;"
        f" sed '1,/changed: true/d' whole; }} >{REPORT}",
        2,
    )
    assert verdict_of_a_run(stub_node12) == ("changed", False)
    assert stub_node12.curl("/puppet/status").body == "idle\n"


# -- the clock ----------------------------------------------------------------------------------

# nspawn machines have the host's clock, so a jump is imitated by moving the times in the record.
JUMP_S = 86400
JUMP = """
import json, sys
path, seconds = sys.argv[1], float(sys.argv[2])
record = json.load(open(path))
record["started"] -= seconds
record["asked"] -= seconds
json.dump(record, open(path, "w"))
"""


@pytest.mark.parametrize("jump_s", [JUMP_S, -JUMP_S], ids=["forward", "back"])
def test_clock_jump_during_a_run(stub_node12: Machine, jump_s: int) -> None:
    leaves(stub_node12, f"mv whole {REPORT}", 2)
    run = stub.hold(stub_node12)
    stub_node12.run("python3", "-c", JUMP, f"{stub.RUNTIME}/runs/{run}.json", str(jump_s))
    assert stub.trigger(stub_node12).status == 409
    stub.release(stub_node12)
    record = stub.end_of(stub_node12, run)
    assert record["verdict"] == "changed"
    assert record["duration_s"] >= 0
    runs_again(stub_node12)


def test_cooldown_does_not_wait_for_a_clock_set_back(stub_node12: Machine) -> None:
    stub.stub_puppet(stub_node12, access="cooldown = 3600")
    stub.end_of(stub_node12, stub.started(stub_node12))
    assert stub.trigger(stub_node12).status == 429
    claim = f"{stub.RUNTIME}/current.json"
    later = str(time.time() + JUMP_S)
    stub_node12.sh(f'sed -i -E \'s/"ended": [0-9.]+/"ended": {later}/\' {claim}')
    stub.end_of(stub_node12, stub.started_when_fixed(stub_node12))
