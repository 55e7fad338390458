"""A Puppet that is missing, spoilt, exchanged, or odd in what it leaves: answer and verdict say so."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

REPORT, SUMMARY = f"{stub.STUB}/last_run_report.yaml", f"{stub.STUB}/last_run_summary.yaml"


@pytest.fixture
def tidy(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    stub.stub_puppet(node12, access="anonymous = trigger status logs")  # so that answers have reasons
    yield node12
    stub.clear(node12)


def runs_again(node: Machine) -> None:
    stub.stub_puppet(node)
    before = len(stub.stub_log(node))
    run = stub.started_when_mended(node)
    stub.end_of(node, run)
    assert stub.stub_log(node)[before:] == [f"began {run}", f"ended {run}"]


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


@pytest.mark.parametrize(("spoil", "said"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_cannot_be_run(tidy: Machine, spoil: str, said: str) -> None:
    assert tidy.curl("/puppet/status").body == "idle\n"  # its settings have been read
    tidy.sh(spoil)
    reply = stub.trigger(tidy)
    assert (reply.status, said in reply.body) == (500, True), reply
    tidy.sh(f"rm -rf {stub.STUB}/puppet")
    runs_again(tidy)


def test_an_interpreter_that_goes_after_the_settings_were_read(tidy: Machine) -> None:
    # The command itself is as it was, so nothing tells before it is executed; then the record does.
    tidy.sh(f"cp /bin/sh {stub.STUB}/sh && sed -i '1s,.*,#!{stub.STUB}/sh,' {stub.STUB}/puppet")
    stub.end_of(tidy, stub.started(tidy))
    tidy.sh(f"rm {stub.STUB}/sh")
    record = stub.end_of(tidy, stub.started(tidy))
    assert record["verdict"] == "not attempted"
    assert record["reason"] == f"{stub.STUB}/puppet cannot be executed: No such file or directory"
    runs_again(tidy)


def test_a_command_that_is_exchanged_during_a_run(tidy: Machine) -> None:
    run = stub.hold(tidy)
    # As packages do it: a new file by the old name.
    tidy.sh(f"cp {stub.STUB}/puppet {stub.STUB}/new && echo 'echo new >>{stub.STUB}/log' >>{stub.STUB}/new")
    tidy.sh(f"mv {stub.STUB}/new {stub.STUB}/puppet")
    assert stub.trigger(tidy).status == 409
    stub.let_go(tidy)
    stub.end_of(tidy, run)
    second = stub.started(tidy)
    stub.end_of(tidy, second)
    words = [f"{word} {one}" for one in (run, second) for word in ("began", "ended")]
    assert stub.stub_log(tidy) == [*words, "new"]


def test_a_command_that_is_removed_during_a_run(tidy: Machine) -> None:
    run = stub.hold(tidy)
    tidy.run("rm", f"{stub.STUB}/puppet")
    tidy.wait(lambda: stub.trigger(tidy).status == 500)  # "busy" is remembered for a second
    stub.let_go(tidy)
    stub.end_of(tidy, run)
    assert stub.stub_log(tidy) == [f"began {run}", f"ended {run}"]


# -- puppet.conf, with Puppet itself ------------------------------------------------------------


@pytest.fixture
def puppet_conf(tidy: Machine) -> Iterator[Machine]:
    stub.real_puppet(tidy, "notify { 'a change': }\n", access="anonymous = trigger status logs")
    tidy.run("cp", "-a", "/etc/puppet/puppet.conf", "/root/puppet.conf")
    yield tidy
    tidy.run("mv", "/root/puppet.conf", "/etc/puppet/puppet.conf")


@pytest.mark.parametrize("line", ["[agent", "[agent]\nthis is none"], ids=["section", "line"])
def test_a_puppet_conf_with_a_broken_line(puppet_conf: Machine, line: str) -> None:
    # Puppet says so in the journal and goes on with what it could read: as by hand, so from here.
    puppet_conf.write("/etc/puppet/puppet.conf", f"{line}\n")
    assert stub.end_of(puppet_conf, stub.started(puppet_conf))["verdict"] == "changed"


def test_a_puppet_conf_with_a_value_that_puppet_does_not_take(puppet_conf: Machine) -> None:
    puppet_conf.write("/etc/puppet/puppet.conf", "[agent]\nruntimeout = banana\n")
    reply = stub.trigger(puppet_conf)
    assert reply.status == 500
    assert reply.body.startswith("Puppet cannot be started: /usr/bin/puppet config print does not tell ")
    assert "banana" in reply.body
    assert puppet_conf.curl("/puppet/status").status == 500
    puppet_conf.run("cp", "-a", "/root/puppet.conf", "/etc/puppet/puppet.conf")
    stub.end_of(puppet_conf, stub.started_when_mended(puppet_conf))


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
    """Let runs do this as their last act, with the report of a run of theirs at hand as `whole`."""
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


def test_a_whole_report(tidy: Machine) -> None:
    leaves(tidy, f"mv whole {REPORT}", 2)
    assert verdict_of_a_run(tidy) == ("changed", False)


SUMMARY_OF_NOW = (
    "printf 'time:\\n  transaction_evaluation: 1\\n  last_run: %s\\nresources:\\n  changed: 1\\n'"
    f" $(date +%s) >{SUMMARY}"
)


@pytest.mark.parametrize("size", ["0", "1", "100", "300", "-60", "-1"])
def test_a_report_that_is_cut_short(tidy: Machine, size: str) -> None:
    # It is nobody's: then the summary and the exit status tell, and the verdict is marked.
    leaves(tidy, f"head -c {size} whole >{REPORT}; {SUMMARY_OF_NOW}", 2)
    assert verdict_of_a_run(tidy) == ("changed", True)
    runs_again(tidy)


@pytest.mark.parametrize(
    ("code", "verdict"), [(0, "interrupted"), (1, "failed"), (2, "changed"), (6, "failed")]
)
def test_a_report_that_is_cut_short_and_no_summary(tidy: Machine, code: int, verdict: str) -> None:
    # Nothing says that the run came to its end: then it is not called one that did.
    leaves(tidy, f"head -c 300 whole >{REPORT}", code)
    assert verdict_of_a_run(tidy) == (verdict, True)


def test_a_report_of_bytes(tidy: Machine) -> None:
    leaves(tidy, f"head -c 1000000 /dev/urandom >{REPORT}; {SUMMARY_OF_NOW}", 0)
    assert verdict_of_a_run(tidy) == ("unchanged", True)
    assert tidy.curl("/puppet/status").status == 200


def test_a_report_of_50_megabytes(tidy: Machine) -> None:
    resource = RESOURCE.format(number="$1")
    tidy.write(f"{stub.STUB}/one", resource.replace("$1", "x" * 60))
    leaves(
        tidy,
        f"{{ sed '/^resource_statuses/q' whole; yes \"$(cat one)\" | head -c 52428800; echo;"
        f" sed '1,/changed: true/d' whole; }} >{REPORT}",
        2,
    )
    assert verdict_of_a_run(tidy) == ("changed", False)
    assert tidy.curl("/puppet/status").body == "idle\n"


# -- the clock ----------------------------------------------------------------------------------

# A machine of nspawn's has the host's clock; what a jump changes is how far from now the past seems.
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
def test_the_clock_jumps_during_a_run(tidy: Machine, jump_s: int) -> None:
    leaves(tidy, f"mv whole {REPORT}", 2)
    run = stub.hold(tidy)
    tidy.run("python3", "-c", JUMP, f"{stub.RUNTIME}/runs/{run}.json", str(jump_s))
    assert stub.trigger(tidy).status == 409
    stub.let_go(tidy)
    record = stub.end_of(tidy, run)
    assert record["verdict"] == "changed"
    assert record["duration_s"] >= 0
    runs_again(tidy)


def test_the_clock_is_set_back_after_a_run_and_nobody_has_to_wait_for_it(tidy: Machine) -> None:
    stub.stub_puppet(tidy, access="cooldown = 3600")
    stub.end_of(tidy, stub.started(tidy))
    assert stub.trigger(tidy).status == 429
    claim = f"{stub.RUNTIME}/current.json"
    later = str(time.time() + JUMP_S)
    tidy.sh(f'sed -i -E \'s/"ended": [0-9.]+/"ended": {later}/\' {claim}')
    stub.end_of(tidy, stub.started_when_mended(tidy))
