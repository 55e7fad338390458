"""The audit trail: root logs every trigger with its caller, whatever flood of refusals the listener logs."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e import access, stub
from tests.e2e.access import bearer, remote
from tests.lab.machine import Machine
from tests.lab.network import Netns

REFUSALS, CALLERS, PIPELINED = 12_000, 6, 100
WRONG = b"POST /puppet/twitch HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nAuthorization: Bearer wrong\r\n\r\n"


@pytest.fixture
def node(clean_node12: Machine) -> Iterator[Machine]:
    """Return a node that accepts a token over plain HTTP."""
    grants = "plaintext_tokens = yes\ntoken:deploy = trigger tags status"
    stub.stub_puppet(clean_node12, access=grants)
    yield clean_node12
    clean_node12.sh(f"rm -f {access.TOKENS}")


def trigger_events(node: Machine, cursor: str) -> list[dict[str, str]]:
    """Return the events about triggers that root has logged."""
    events = [entry for entry in access.our_entries(node, cursor) if "TWITCH_ANSWER" in entry]
    return [event for event in events if event["_UID"] == "0"]


def logged_triggers(node: Machine, cursor: str) -> set[tuple[str, str]]:
    """Return the run and the caller of each event about a trigger."""
    return {(event.get("TWITCH_RUN", ""), event["TWITCH_CALLER"]) for event in trigger_events(node, cursor)}


def send_refused_requests(crowd: Netns, node: Machine, source: str) -> int:
    """Send one address's share of requests with a wrong token; return how many answers were 401."""
    refused = 0
    for _ in range(REFUSALS // CALLERS // PIPELINED):
        # The listener ends a connection without a request after five seconds, so none is kept.
        with crowd.connect(node.address, 2023, source=source) as connection:
            connection.settimeout(120)
            connection.sendall(WRONG * PIPELINED)
            received = b""
            while received.count(b"The token is wrong or has expired") < PIPELINED:
                data = connection.recv(65536)
                assert data, "the listener has closed the connection"
                received += data
            refused += received.count(b"HTTP/1.1 401 ")
    return refused


def test_every_trigger_is_logged_among_12000_refusals(node: Machine, crowd: Netns) -> None:
    token, line = access.new_token(node, "deploy")
    access.write_tokens(node, line)
    cursor = access.journal_cursor(node)
    runs: dict[str, str] = {}
    with ThreadPoolExecutor(CALLERS) as pool:
        sources = crowd.addresses[:CALLERS]
        floods = [pool.submit(send_refused_requests, crowd, node, source) for source in sources]
        while not all(flood.done() for flood in floods) or len(runs) < 2:
            credential = bearer(token) if len(runs) % 2 else ()
            reply = node.curl("/puppet/twitch?queue", *credential)
            if reply.status == 202:
                # Later callers may join a queued run; it is the first one's run.
                caller = "token:deploy" if credential else "anonymous"
                runs.setdefault(str(reply.headers["Puppet-Run"]), caller)
    assert sum(flood.result() for flood in floods) == REFUSALS
    # Root logs a trigger after its answer, so that the events of a run may be in any order.
    node.wait(lambda: logged_triggers(node, cursor) >= set(runs.items()))
    # Refusals are counted per address, none is missing, and the lines are few.
    lines = access.logged_refusals(node, cursor, " x 401")
    counts: Counter[str] = Counter()
    for text in lines:
        match = re.fullmatch(r"refused (\S+): (\d+) x 401 [a-z ]+", text)
        assert match, text
        counts[match[1]] += int(match[2])
    assert counts == dict.fromkeys(crowd.addresses[:CALLERS], REFUSALS // CALLERS)
    assert len(lines) < REFUSALS / 100


def test_trigger_event_has_caller_client_options_and_answer(node: Machine, crowd: Netns) -> None:
    token, line = access.new_token(node, "deploy")
    access.write_tokens(node, line)
    cursor = access.journal_cursor(node)
    url = f"http://{node.address}:2023/puppet/twitch?tags=a,b&queue"
    source = ("--interface", crowd.addresses[0])
    reply = remote(crowd, url, *source, *bearer(token))
    assert reply.status == 202
    (event,) = node.wait(lambda: trigger_events(node, cursor))
    run = reply.headers["Puppet-Run"]
    # The IPv4 form, although the socket is IPv6.
    assert event["MESSAGE"] == (
        f"token:deploy at {crowd.addresses[0]} asked for a run (tags=a,b queue): started {run}"
    )
    expected = {
        **{"TWITCH_CALLER": "token:deploy", "TWITCH_CLIENT": crowd.addresses[0]},
        **{"TWITCH_OPTIONS": "tags=a,b queue", "TWITCH_ANSWER": "started", "TWITCH_RUN": run},
    }
    assert {name: event[name] for name in expected} == expected


def test_ipv6_client_is_logged_in_short_form(node: Machine, elsewhere: Netns) -> None:
    cursor = access.journal_cursor(node)
    reply = remote(elsewhere, f"http://[{node.address6}]:2023/puppet/twitch")
    assert reply.status == 202
    (event,) = node.wait(lambda: trigger_events(node, cursor))
    assert event["TWITCH_CLIENT"] == elsewhere.addresses[1]


def test_refusal_by_root_is_logged_without_control_characters(node: Machine) -> None:
    reason = "a\n<0>forged line\x1b[31m\r\u202e\x07"
    node.write(stub.STUB_DISABLED, json.dumps({"disabled_message": reason}))
    cursor = access.journal_cursor(node)
    reply = node.curl("/puppet/twitch")
    assert reply.status == 423
    (event,) = node.wait(lambda: trigger_events(node, cursor))
    assert event["TWITCH_ANSWER"] == "disabled"
    assert event["TWITCH_REASON"] == r"a\n<0>forged line\x1b[31m\r\u202e\x07"
    text = " ".join(value for value in event.values() if isinstance(value, str))
    assert not set(text) & set("\n\r\x1b\x07\u202e")
    assert not set(reply.body) & set("\r\x1b\x07\u202e")


def test_journalctl_command_of_readme_finds_the_caller(node: Machine) -> None:
    run = stub.started(node)
    stub.end_of(node, run)
    command = f"journalctl -q -o cat _UID=0 TWITCH_RUN={run}"
    node.wait(f"test $({command} | wc -l) -ge 2")
    began, ended = node.sh(command).stdout.splitlines()[:2]
    assert re.match(r"anonymous at (127\.0\.0\.1|::1) asked for a run: started ", began)
    assert ended.startswith(f"run {run} of anonymous: ")


def test_invalid_request_is_counted_and_its_bytes_not_logged(node: Machine, crowd: Netns) -> None:
    cursor = access.journal_cursor(node)
    with crowd.connect(node.address, 2023) as connection:
        connection.settimeout(60)
        connection.sendall(b"GET /\x1b[31mforged HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
        connection.shutdown(socket.SHUT_WR)
    lines = access.logged_refusals(node, cursor, "x 400")
    assert not any("forged" in text or "\x1b" in text for text in lines)
