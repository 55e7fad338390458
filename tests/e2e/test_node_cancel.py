"""A run in the queue, the run under way and a masterless one are cancelled."""

from __future__ import annotations

import json

from tests.e2e import access, stub
from tests.e2e.test_agent_cancel import cancel
from tests.lab.machine import Machine

MESSAGE_ID = "8c3a5c0b9e5d4f0c9a7e2b6d41f3c57e"


def test_queued_run_is_cancelled_and_the_run_under_way_goes_on(stub_node12: Machine) -> None:
    stub.stub_puppet(stub_node12, access="anonymous = trigger tags status logs cancel")
    cursor = access.journal_cursor(stub_node12)
    first = stub.hold(stub_node12)
    queued = stub.started(stub_node12, "?queue=true")
    reply = cancel(stub_node12, queued, "?wait=60")
    assert (reply.status, reply.body) == (
        200,
        "Puppet run cancelled: not attempted: cancelled by anonymous\n",
    )
    assert reply.headers["Puppet-Run"] == queued
    # The place in the queue is free at once, and the run under way has noticed nothing.
    other = stub.started(stub_node12, "?queue=true&tags=a")
    assert stub.unit_of(stub_node12, first)
    assert cancel(stub_node12, queued, "").status == 409
    reply = cancel(stub_node12, "current", "?wait=60")
    assert (reply.status, reply.headers["Puppet-Run"]) == (200, first)
    # The run in the queue takes its turn.
    stub.release(stub_node12)
    stub.end_of(stub_node12, other)
    assert stub.stub_log(stub_node12) == [f"began {first}", *stub.in_order(other)]

    def cancelled() -> list[str]:
        entries = access.our_entries(stub_node12, cursor)
        return [entry["TWITCH_RUN"] for entry in entries if entry.get("MESSAGE_ID") == MESSAGE_ID]

    stub_node12.wait(lambda: len(cancelled()) >= 2)  # root logs after its answer
    assert cancelled()[:2] == [queued, first]
    assert cancel(stub_node12, "current", "").status == 404


def test_masterless_run_is_cancelled(clean_node12: Machine) -> None:
    node = clean_node12
    stub.real_puppet(node, stub.HOLD, access="anonymous = trigger status logs cancel")
    run = stub.hold(node)
    # `puppet apply` leaves no trace of its phase, but everything else is known.
    status = json.loads(node.curl("/puppet/status", *access.JSON).body)
    assert (status["state"], "phase" in status, status["elapsed_s"] >= 0) == ("running", False, True)
    reply = cancel(node, run, "?wait=60")
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (200, "interrupted")
    assert reply.body.startswith(
        "Puppet run cancelled: interrupted: cancelled by anonymous; still running: sh (pid "
    )
    stub.release(node)
