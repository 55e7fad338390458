"""A run in the queue and the run under way are cancelled, each without the other."""

from __future__ import annotations

from tests.e2e import stub
from tests.e2e.test_agent_cancel import cancel
from tests.lab.machine import Machine

MESSAGE_ID = "8c3a5c0b9e5d4f0c9a7e2b6d41f3c57e"


def test_queued_run_is_cancelled_and_the_run_under_way_goes_on(stub_node: Machine) -> None:
    stub.stub_puppet(stub_node, access="anonymous = trigger tags status logs cancel")
    first = stub.hold(stub_node)
    queued = stub.started(stub_node, "?queue=true")
    reply = cancel(stub_node, queued, "?wait=60")
    assert (reply.status, reply.body) == (
        200,
        "Puppet run cancelled: not attempted: cancelled by anonymous\n",
    )
    assert reply.headers["Puppet-Run"] == queued
    # The place in the queue is free at once, and the run under way has noticed nothing.
    other = stub.started(stub_node, "?queue=true&tags=a")
    assert stub.unit_of(stub_node, first)
    assert cancel(stub_node, queued, "").status == 409
    reply = cancel(stub_node, "current", "?wait=60")
    assert (reply.status, reply.headers["Puppet-Run"]) == (200, first)
    # The run in the queue takes its turn.
    stub.release(stub_node)
    stub.end_of(stub_node, other)
    assert stub.stub_log(stub_node) == [f"began {first}", *stub.in_order(other)]
    events = stub_node.journal(f"MESSAGE_ID={MESSAGE_ID}", "_UID=0")
    assert [event["TWITCH_RUN"] for event in events[:2]] == [queued, first]
    assert cancel(stub_node, "current", "").status == 404
