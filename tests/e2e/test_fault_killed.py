"""Handler and conclude killed at every step, alone and both: no run is lost, none is made up, none blocks.

A tree of one's own replaces `/usr/lib/puppet-twitch` in the units: it kills itself, the hard way, before
or after a step that it is told. It also waits less long for a conclude that will not come.
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

# In the order in which a trigger comes by.
HANDLER = {
    "before it reads": "before twitch.root.handler:_receive 1",
    "before it decides": "before twitch.root.turn:decide 1",
    "with a claim and no record": "after twitch.root.store:Store.claim_current 1",
    "with a record": "after twitch.root.store:Store.write 1",
    "before it answers": "before twitch.root.handler:_send 1",
    "after its answer": "after twitch.root.handler:_send 1",
    "before it becomes Puppet": "before twitch.root.handler:_become 1",
}
CONCLUDE = {
    "at once": "before twitch.root.conclude:main 1",
    "before the verdict": "before twitch.root.verdict:judge 1",
    "before it is on record": "before twitch.root.store:Store.write 1",
    "when it is on record": "after twitch.root.store:Store.write 1",
    "before the event": "before twitch.root.conclude:_log 1",
    "before it tidies up": "before twitch.root.store:Store.prune 1",
}
# From here on the record says how the run ended.
ON_RECORD = ("when it is on record", "before the event", "before it tidies up")
# From here on the caller has heard of the run.
ANSWERED = ("after its answer", "before it becomes Puppet")


@pytest.fixture
def tidy(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    stub.stub_puppet(node12)
    node12.write(f"{KILLER}/__main__.py", KILLER_MAIN)
    kill_at(node12)
    stub.drop_in(node12, "puppet-twitch-run@.service", DROP_IN)
    yield node12
    node12.run("rm", "-rf", KILLER, "/root/kill", "/root/killed")
    stub.clear(node12)


def kill_at(node: Machine, **steps: str) -> None:
    node.write("/root/kill", "".join(f"{command} {step}\n" for command, step in steps.items()))


def killed(node: Machine) -> list[str]:
    """Return who was killed since, once nothing is under way any more."""
    node.wait("test -e /root/killed && ! systemctl list-units --no-legend 'puppet-twitch-run@*' | grep -q .")
    return sorted(node.sh("cat /root/killed; rm /root/killed").stdout.split())


def unfinished(node: Machine) -> list[dict[str, Any]]:
    found = node.sh(f"cat {stub.RUNTIME}/runs/*.json 2>/dev/null || true").stdout
    records = [json.loads(one) for one in found.replace("}{", "}\n{").splitlines()]
    return [one for one in records if one["state"] != "finished"]


def runs_again(node: Machine) -> None:
    """The next trigger is a run, and afterwards nobody seems to run any more."""
    kill_at(node)
    before = len(stub.stub_log(node))
    run = stub.started_when_mended(node)
    stub.end_of(node, run)
    assert stub.stub_log(node)[before:] == [f"began {run}", f"ended {run}"]
    assert unfinished(node) == []
    assert node.curl("/puppet/status").body == "idle\n"


@pytest.mark.parametrize("step", HANDLER)
@pytest.mark.parametrize("both", [False, True], ids=["alone", "and conclude too"])
def test_the_handler_is_killed(tidy: Machine, step: str, both: bool) -> None:
    kill_at(tidy, handle=HANDLER[step], **({"conclude": CONCLUDE["at once"]} if both else {}))
    reply = stub.trigger(tidy)
    # Who is told of a run can look it up; who is not is told to ask again.
    assert reply.status == (202 if step in ANSWERED else 503)
    assert "handle" in killed(tidy)
    assert stub.stub_log(tidy) == []
    runs_again(tidy)
    if step in ANSWERED:
        # Both killed: nobody knows how it ended, and the record says just that.
        verdict = stub.record(tidy, str(reply.headers["Puppet-Run"]))["verdict"]
        assert verdict == ("interrupted" if both else "not attempted")


@pytest.mark.parametrize("step", CONCLUDE)
def test_conclude_is_killed(tidy: Machine, step: str) -> None:
    kill_at(tidy, conclude=CONCLUDE[step])
    # A run that leaves a report, by which it is known even when nobody has seen its end.
    tidy.sh(
        f"printf '%s\\n' 'printf \"status: changed\\ntransaction_completed: true\\njob_id: %s\\n\" $run"
        f" >{stub.STUB}/last_run_report.yaml' >>{stub.STUB}/puppet"
    )
    run = stub.started(tidy)
    assert killed(tidy) == ["conclude"]
    assert stub.stub_log(tidy) == [f"began {run}", f"ended {run}"]
    assert stub.record(tidy, run)["state"] == ("finished" if step in ON_RECORD else "running")
    runs_again(tidy)
    assert stub.record(tidy, run)["verdict"] == "changed"


def test_a_waiting_run_is_killed_together_with_its_conclude(tidy: Machine) -> None:
    first = stub.hold(tidy)
    kill_at(tidy, conclude=CONCLUDE["at once"])
    second = stub.started(tidy, "?queue=true")
    tidy.run("kill", "-9", str(stub.pid_of(tidy, second)))
    tidy.wait(lambda: not stub.unit_of(tidy, second))
    kill_at(tidy)

    def queued_anew() -> str:
        run = stub.started(tidy, "?queue=true")  # whose answer is remembered for a second
        return "" if run == second else run

    third = tidy.wait(queued_anew)
    stub.let_go(tidy)
    stub.end_of(tidy, third)
    assert stub.stub_log(tidy) == [f"{word} {run}" for run in (first, third) for word in ("began", "ended")]
    assert stub.record(tidy, second)["verdict"] == "not attempted"
    assert unfinished(tidy) == []
