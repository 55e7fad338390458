"""Puppet and puppet-twitch agree on whether Puppet is disabled: our holds beside Puppet's own commands."""

from __future__ import annotations

import json

from tests.e2e import access, stub
from tests.e2e.systems import every_agent
from tests.e2e.test_agent_verdicts import CONFIG, STATE
from tests.e2e.test_disable import ACCESS, TIMER, ask
from tests.lab.machine import Machine

LOCK = f"{STATE}/agent_disabled.lock"


@every_agent
def test_puppet_agrees(agent: Machine) -> None:
    node = agent
    stub.clear(node)
    node.write(CONFIG, f"[access]\n{ACCESS}")
    node.sh(f"mkdir -p {STATE}")
    token, line = access.new_token(node, "deploy")
    access.write_tokens(node, line)
    deploy = access.bearer(token)
    reply = ask(node, "disable", "?reason=CHG-123+%C3%BC&for=2h", *deploy)
    assert (reply.status, reply.body[:22]) == (200, "Puppet disabled until "), reply
    until = reply.body[22:-1]
    message = f"CHG-123 ü (token:deploy at 127.0.0.1, until {until})"
    content = json.loads(node.read(LOCK))
    assert content["disabled_message"] == message
    assert node.sh(f"stat -c '%a %U' {LOCK}").stdout == "644 root\n"
    # Puppet refuses with our message, and so does a trigger.
    by_hand = node.run("puppet", "agent", "--test", "--color=false", check=False)
    assert by_hand.returncode == 1 and f"(Reason: '{message}')" in by_hand.stdout, by_hand
    triggered = node.curl("/puppet/twitch", *deploy)
    assert (triggered.status, triggered.body) == (423, f"Puppet disabled: {message}\n")
    assert (node.curl("/puppet/twitch").status, node.curl("/puppet/twitch").body) == (
        423,
        "Puppet disabled\n",
    )
    # By hand in between: Puppet keeps the lock that is there.
    node.run("puppet", "agent", "--disable", "by hand")
    assert json.loads(node.read(LOCK)) == content
    node.run("puppet", "agent", "--enable")
    assert not node.exists(LOCK)
    # A lock that is not ours.
    node.run("puppet", "agent", "--disable", "by hand")
    mine = node.read(LOCK)
    held = ask(node, "disable", "?reason=CHG-124", *deploy)
    assert (held.status, held.body) == (
        409,
        "Puppet was not disabled by puppet-twitch: by hand; force=true adds a hold to that\n",
    )
    assert ask(node, "disable", "?reason=CHG-124&for=1h&force=true", *deploy).status == 200
    by_hand = node.run("puppet", "agent", "--test", "--color=false", check=False)
    assert "(Reason: 'by hand; CHG-124 (token:deploy at 127.0.0.1, until " in by_hand.stdout
    still = ask(node, "enable", "", *deploy)
    assert (still.status, still.body.partition(";")[0]) == (
        409,
        "Puppet was not disabled by puppet-twitch: by hand",
    )
    assert node.read(LOCK) == mine
    assert ask(node, "enable", "?force=true", *deploy).body == "Puppet enabled\n"
    assert not node.exists(LOCK)
    node.wait(f"! test -e /run/systemd/transient/{TIMER}")  # systemd removes it after the end of the timer
    assert node.sh(f"ls -A {STATE} | grep puppet-twitch", check=False).stdout == ""
    stub.clear(node)
