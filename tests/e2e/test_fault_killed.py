"""Handler and conclude killed at every step, alone and both: no run is lost, invented, or in the way.

The units run a program of this test instead of `/usr/lib/puppet-twitch`: it kills itself with SIGKILL
before or after the step that /root/kill names. It also waits less long for a conclude that never comes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

KILLER = "/root/killer"
KILLER_MAIN = """\
import functools, importlib, os, signal, sys
sys.path.insert(0, "/usr/lib/puppet-twitch")

def kill(*_):
    with open("/root/killed", "a") as file:
        file.write(sys.argv[1] + "\\n")
    os.kill(os.getpid(), signal.SIGKILL)

def arm(when, path, nth):
    module, _, names = path.partition(":")
    *owners, name = names.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    real, calls = getattr(owner, name), []

    @functools.wraps(real)
    def step(*arguments, **options):
        calls.append(1)
        if when == "before" and len(calls) == nth:
            kill()
        result = real(*arguments, **options)
        if when == "after" and len(calls) == nth:
            kill()
        return result

    setattr(owner, name, step)

for line in open("/root/kill"):
    command, when, path, nth = line.split()
    if command == sys.argv[1]:
        arm(when, path, int(nth))
from twitch.root import turn
from twitch.__main__ import main
turn.CONCLUDE_GRACE_S = 0.3
sys.exit(main())
"""
DROP_IN = f"""\
[Service]
ExecStart=
ExecStart=/usr/bin/python3 -I -B {KILLER} handle
ExecStopPost=
ExecStopPost=/usr/bin/python3 -I -B {KILLER} conclude
"""

# In the order of a trigger.
HANDLER = {
    "before it reads": "before twitch.root.peer_access:receive 1",
    "before it decides": "before twitch.root.turn:decide 1",
    "with a claim and no record": "after twitch.root.claims:Claims.write_current 1",
    "with a record": "after twitch.root.store:Store.write 1",
    "before it answers": "before twitch.root.peer_access:send 1",
    "after its answer": "after twitch.root.peer_access:send 1",
    "before it becomes Puppet": "before twitch.root.handler:_become 1",
}
CONCLUDE = {
    "at once": "before twitch.root.conclude:main 1",
    "before the verdict": "before twitch.root.verdict:judge 1",
    "before it is on record": "before twitch.root.store:Store.write 1",
    "when it is on record": "after twitch.root.store:Store.write 1",
    "before the event": "before twitch.root.conclude:_log 1",
    "before it tidies up": "before twitch.root.history:prune 1",
}
# From these steps on, the record says how the run ended.
ON_RECORD = ("when it is on record", "before the event", "before it tidies up")
# From these steps on, the caller knows the run.
ANSWERED = ("after its answer", "before it becomes Puppet")


@pytest.fixture
def node(stub_node12: Machine) -> Iterator[Machine]:
    stub_node12.write(f"{KILLER}/__main__.py", KILLER_MAIN)
    kill_at(stub_node12)
    stub.drop_in(stub_node12, "puppet-twitch-run@.service", DROP_IN)
    yield stub_node12
    stub_node12.run("rm", "-rf", KILLER, "/root/kill", "/root/killed")


def kill_at(node: Machine, **steps: str) -> None:
    """Make each command kill itself at a step; without steps, nothing is killed."""
    node.write("/root/kill", "".join(f"{command} {step}\n" for command, step in steps.items()))


def killed(node: Machine) -> list[str]:
    """Return the commands that were killed, once no handler, run or conclude is left."""
    node.wait("test -e /root/killed && ! systemctl list-units --no-legend 'puppet-twitch-run@*' | grep -q .")
    return sorted(node.sh("cat /root/killed; rm /root/killed").stdout.split())


def unfinished(node: Machine) -> list[dict[str, Any]]:
    files = node.sh(f"cat {stub.RUNTIME}/runs/*.json 2>/dev/null || true").stdout
    records = [json.loads(record) for record in files.replace("}{", "}\n{").splitlines()]
    return [record for record in records if record["state"] != "finished"]


def runs_again(node: Machine) -> None:
    """See that the next trigger is a run, and that every record is finished afterwards."""
    kill_at(node)
    stub.runs_again(node)
    assert unfinished(node) == []


@pytest.mark.parametrize("step", HANDLER)
@pytest.mark.parametrize("both", [False, True], ids=["alone", "and conclude too"])
def test_handler_killed_at_any_step(node: Machine, step: str, both: bool) -> None:
    kill_at(node, handle=HANDLER[step], **({"conclude": CONCLUDE["at once"]} if both else {}))
    reply = stub.trigger(node)
    # The caller gets the run's id, or is told to ask again.
    assert reply.status == (202 if step in ANSWERED else 503)
    assert "handle" in killed(node)
    assert stub.stub_log(node) == []
    runs_again(node)
    if step in ANSWERED:
        # With both killed, nothing is known about the end of the run.
        verdict = stub.record(node, str(reply.headers["Puppet-Run"]))["verdict"]
        assert verdict == ("interrupted" if both else "not attempted")


@pytest.mark.parametrize("step", CONCLUDE)
def test_conclude_killed_at_any_step(node: Machine, step: str) -> None:
    kill_at(node, conclude=CONCLUDE[step])
    # The run leaves a report, from which the verdict comes when conclude is missing.
    node.sh(
        f"printf '%s\\n' 'printf \"status: changed\\ntransaction_completed: true\\njob_id: %s\\n\" $run"
        f" >{stub.STUB}/last_run_report.yaml' >>{stub.STUB}/puppet"
    )
    run = stub.started(node)
    assert killed(node) == ["conclude"]
    assert stub.stub_log(node) == stub.in_order(run)
    assert stub.record(node, run)["state"] == ("finished" if step in ON_RECORD else "running")
    runs_again(node)
    assert stub.record(node, run)["verdict"] == "changed"


def test_question_waits_for_a_conclude_that_begins_late(node: Machine) -> None:
    late = "ExecStopPost=/bin/sh -c 'until test -e /root/late; do sleep 0.1; done'"
    stub.drop_in(
        node, "puppet-twitch-run@.service", DROP_IN.replace("ExecStopPost=\n", f"ExecStopPost=\n{late}\n")
    )
    node.sh(f"echo 'exit 1' >>{stub.STUB}/puppet")
    run = stub.started(node)
    # The question waits for longer than for a conclude that was killed, which is 0.3 s in this test.
    asking = node.popen("curl", "--silent", "--max-time", "90", "http://localhost:2023/puppet/status")
    node.wait("test 0$(pgrep -f '[k]iller handle' | xargs -r ps -o etimes= -p | tr -d ' ' | tail -n 1) -ge 2")
    assert stub.record(node, run)["state"] == "running"
    node.sh("touch /root/late")
    answer, _ = asking.communicate(timeout=90)
    # Without Puppet's exit status, which only its own conclude knows, this run would be interrupted.
    assert (answer, stub.record(node, run)["verdict"]) == ("idle\n", "not attempted")
    node.sh("rm /root/late")


def test_queued_run_killed_with_its_conclude(node: Machine) -> None:
    first = stub.hold(node)
    kill_at(node, conclude=CONCLUDE["at once"])
    second = stub.started(node, "?queue=true")
    node.run("kill", "-9", str(stub.pid_of(node, second)))
    node.wait(lambda: not stub.unit_of(node, second))
    kill_at(node)

    def queued_anew() -> str:
        run = stub.started(node, "?queue=true")  # whose answer is remembered for a second
        return "" if run == second else run

    third = node.wait(queued_anew)
    stub.release(node)
    stub.end_of(node, third)
    assert stub.stub_log(node) == stub.in_order(first, third)
    assert stub.record(node, second)["verdict"] == "not attempted"
    assert unfinished(node) == []
