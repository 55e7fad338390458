"""Who triggered this? The journal knows, by root's word, whatever noise the listener hears."""

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
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns

NOISE, CALLERS, AHEAD = 30_000, 6, 100
WRONG = b"POST /puppet/twitch HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nAuthorization: Bearer wrong\r\n\r\n"


@pytest.fixture
def tidy(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    stub.stub_puppet(node12, access="plaintext_tokens = yes\ntoken:deploy = trigger tags status")
    yield node12
    node12.sh(f"rm -f {access.TOKENS}")
    stub.clear(node12)


@pytest.fixture(scope="session")
def crowd(lab: Lab) -> Netns:
    return lab.client(*(f"10.77.0.{number}" for number in range(170, 170 + CALLERS)), "fd77::70")


def asked(node: Machine, place: str) -> list[dict[str, str]]:
    """Return what only root can have written about requests for runs."""
    events = [entry for entry in access.entries(node, place) if "TWITCH_ANSWER" in entry]
    return [event for event in events if event["_UID"] == "0"]


def noise(crowd: Netns, node: Machine, source: str) -> int:
    """Be refused so often from one address; return how many answers were 401."""
    refused = 0
    with crowd.connect(node.address, 2023, source=source) as connection:
        connection.settimeout(120)
        for _ in range(NOISE // CALLERS // AHEAD):
            connection.sendall(WRONG * AHEAD)
            answers, heard = 0, b""
            while answers < AHEAD:
                data = connection.recv(65536)
                assert data, "the listener has hung up"
                heard += data
                answers = heard.count(b"The token is wrong or has expired")
            refused += heard.count(b"HTTP/1.1 401 ")
    return refused


def test_thirty_thousand_refusals_hide_no_trigger(tidy: Machine, crowd: Netns) -> None:
    token, line = access.new_token(tidy, "deploy")
    access.write_tokens(tidy, line)
    place = access.now(tidy)
    runs: dict[str, str] = {}
    with ThreadPoolExecutor(CALLERS) as pool:
        making = [pool.submit(noise, crowd, tidy, source) for source in crowd.addresses[:CALLERS]]
        while not all(one.done() for one in making):
            shown = bearer(token) if len(runs) % 2 else ()
            reply = tidy.curl("/puppet/twitch?queue", *shown)
            if reply.status == 202:
                # An equal request joins the run that waits; whose run it is was the first one's doing.
                runs.setdefault(str(reply.headers["Puppet-Run"]), "token:deploy" if shown else "anonymous")
    assert sum(one.result() for one in making) == NOISE
    assert len(runs) >= 2
    tidy.wait(lambda: {event["TWITCH_RUN"] for event in asked(tidy, place)} >= set(runs))
    events = {event["TWITCH_RUN"]: event for event in reversed(asked(tidy, place))}  # the first of each
    for run, caller in runs.items():
        assert events[run]["TWITCH_CALLER"] == caller
        # Of a process that is gone before journald gets to it, journald knows what the kernel says only.
        assert events[run]["_UID"] == "0"
    # Summed up, per address, and all of them.
    lines = access.refused(tidy, place, " x 401")
    counts: Counter[str] = Counter()
    for text in lines:
        found = re.fullmatch(r"refused (\S+): (\d+) x 401", text)
        assert found, text
        counts[found[1]] += int(found[2])
    assert counts == dict.fromkeys(crowd.addresses[:CALLERS], NOISE // CALLERS)
    assert len(lines) < NOISE / 100


def test_an_event_says_who_from_where_with_what_and_the_answer(tidy: Machine, crowd: Netns) -> None:
    token, line = access.new_token(tidy, "deploy")
    access.write_tokens(tidy, line)
    place = access.now(tidy)
    url = f"http://{tidy.address}:2023/puppet/twitch?tags=a,b&queue"
    source = ("--interface", crowd.addresses[0])
    reply = remote(crowd, url, *source, *bearer(token))
    assert reply.status == 202
    (event,) = tidy.wait(lambda: asked(tidy, place))
    run = reply.headers["Puppet-Run"]
    # An IPv4 address on a socket of both kinds, as it is written everywhere else.
    assert event["MESSAGE"] == (
        f"token:deploy at {crowd.addresses[0]} asked for a run (tags=a,b queue): started {run}"
    )
    expected = {
        **{"TWITCH_CALLER": "token:deploy", "TWITCH_CLIENT": crowd.addresses[0]},
        **{"TWITCH_OPTIONS": "tags=a,b queue", "TWITCH_ANSWER": "started", "TWITCH_RUN": run},
    }
    assert {name: event[name] for name in expected} == expected


def test_an_ipv6_address_is_written_in_short(tidy: Machine, crowd: Netns) -> None:
    place = access.now(tidy)
    reply = remote(crowd, f"http://[{tidy.address6}]:2023/puppet/twitch", "--interface", "fd77::70")
    assert reply.status == 202
    (event,) = tidy.wait(lambda: asked(tidy, place))
    assert event["TWITCH_CLIENT"] == "fd77::70"


def test_a_refusal_by_root_is_an_event_and_plays_with_no_terminal(tidy: Machine) -> None:
    reason = "a\n<0>forged line\x1b[31m\r\u202e\x07"
    tidy.write(stub.STUB_DISABLED, json.dumps({"disabled_message": reason}))
    place = access.now(tidy)
    reply = tidy.curl("/puppet/twitch")
    assert reply.status == 423
    (event,) = tidy.wait(lambda: asked(tidy, place))
    assert event["TWITCH_ANSWER"] == "disabled"
    assert event["TWITCH_REASON"] == r"a\n<0>forged line\x1b[31m\r\u202e\x07"
    told = " ".join(value for value in event.values() if isinstance(value, str))
    assert not set(told) & set("\n\r\x1b\x07\u202e")
    assert not set(reply.body) & set("\r\x1b\x07\u202e")


def test_who_triggered_this_as_the_readme_asks_it(tidy: Machine) -> None:
    run = stub.started(tidy)
    stub.end_of(tidy, run)
    found = tidy.wait(
        lambda: (
            tidy.run("journalctl", "-q", "-o", "cat", "_UID=0", f"TWITCH_RUN={run}").stdout.splitlines()[1:]
            and tidy.run("journalctl", "-q", "-o", "cat", "_UID=0", f"TWITCH_RUN={run}").stdout.splitlines()
        )
    )
    assert re.match(r"anonymous at (127\.0\.0\.1|::1) asked for a run: started ", found[0])
    assert found[1].startswith(f"run {run} of anonymous: ")


def test_bytes_that_are_no_request_are_counted_and_not_repeated(tidy: Machine, crowd: Netns) -> None:
    place = access.now(tidy)
    with crowd.connect(tidy.address, 2023) as connection:
        connection.settimeout(60)
        connection.sendall(b"GET /\x1b[31mforged HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
        connection.shutdown(socket.SHUT_WR)
    lines = access.refused(tidy, place, "x 400")
    assert not any("forged" in text or "\x1b" in text for text in lines)
