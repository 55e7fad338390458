"""Who may what: 401 without a credential or with a bad one, 403 for too small a one, and nothing starts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e import access, stub
from tests.e2e.access import bearer, remote
from tests.e2e.closed import CLOSED, Closed, closed_to_strangers
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns


@pytest.fixture(scope="module")
def closed(node12: Machine) -> Iterator[Closed]:
    with closed_to_strangers(node12) as there:
        yield there


@pytest.fixture
def node(closed: Closed) -> Machine:
    """Return the node, for a look only."""
    return closed.node


@pytest.fixture
def tidy(closed: Closed) -> Iterator[Machine]:
    """Return the node as it was at first, and make it so again."""
    closed.restore()
    yield closed.node
    closed.restore()


@pytest.fixture
def tokens(closed: Closed) -> dict[str, str]:
    return closed.tokens


@pytest.fixture(scope="session")
def elsewhere(lab: Lab) -> Netns:
    return lab.client("10.77.0.50", "fd77::50")


def test_a_token_may_come_from_a_file_as_readme_says(tidy: Machine, tokens: dict[str, str]) -> None:
    tidy.write("/root/token", f"Authorization: Bearer {tokens['deploy']}\n", 0o600)
    assert tidy.curl("/puppet/twitch", "-H", "@/root/token").status == 202


REFUSED = {
    "nobody": ("", None, 401, "has the grant trigger"),
    "nobody-status": ("status", None, 401, "has the grant status"),
    "nobody-runs": ("runs", None, 401, "has the grant status"),
    "wrong": ("", "wrong", 401, "wrong or has expired"),
    "wrong-version": ("/version", "wrong", 401, "wrong or has expired"),
    "expired": ("", "expired", 401, "wrong or has expired"),
    "no-trigger": ("", "look", 403, "token:look has no grant trigger"),
    "no-trigger-but-noop": ("", "careful", 403, "token:careful has no grant trigger"),
    "no-noop": ("?noop", "deploy", 403, "token:deploy has no grant noop"),
    "no-tags": ("?noop&tags=a", "careful", 403, "token:careful has no grant tags"),
    "no-environment": ("?environment=production", "deploy", 403, "no grant environment=production"),
    "no-status": ("status", "careful", 403, "token:careful has no grant status"),
    "the-more-specific-line-counts": ("", "ci-small", 403, "token:ci-small has no grant trigger"),
}


@pytest.mark.parametrize(("path", "who", "status", "text"), REFUSED.values(), ids=REFUSED)
def test_is_refused_and_starts_nothing(
    node: Machine, tokens: dict[str, str], path: str, who: str | None, status: int, text: str
) -> None:
    if not path.startswith("/"):
        path = f"/puppet/{path}" if path[:1].isalpha() else f"/puppet/twitch{path}"
    before = access.questions(node)
    reply = node.curl(path, *(bearer(tokens[who]) if who else ()))
    assert (reply.status, text in reply.body) == (status, True), reply.body
    assert (reply.headers["WWW-Authenticate"] == 'Bearer realm="puppet-twitch"') == (status == 401)
    assert not any(token in reply.body for token in tokens.values())
    assert access.questions(node) == before
    assert stub.stub_log(node) == []


SHOWN = {
    "basic": "Basic {token}",
    "bare": "{token}",
    "digest-of-it": "Bearer {token}=",
    "two": "Bearer {token} {token}",
    "list": "Bearer {token}, Bearer {token}",
    "empty": "Bearer ",
    "non-ascii": "Bearer {token}\u00e9",
    "tab": "Bearer\t{token}",
    "long": "Bearer {token}" + "A" * 1000,
    "lower": "Bearer {lower}",
    "prefix": "Bearer {prefix}",
}


@pytest.mark.parametrize("form", SHOWN.values(), ids=SHOWN)
def test_a_token_in_another_form_is_none(node: Machine, tokens: dict[str, str], form: str) -> None:
    token = tokens["deploy"]
    shown = form.format(token=token, lower=token.swapcase(), prefix=token[:-1])
    reply = node.curl("/puppet/status", "-H", f"Authorization: {shown}")
    assert reply.status == 401


@pytest.mark.parametrize("place", ["?token=", "?access_token=", "?Authorization=Bearer%20"])
def test_a_token_in_the_url_is_none(node: Machine, tokens: dict[str, str], place: str) -> None:
    reply = node.curl(f"/puppet/status{place}{tokens['deploy']}")
    assert reply.status == 400
    assert tokens["deploy"] not in reply.body


def test_what_is_granted_is_done_and_named(tidy: Machine, tokens: dict[str, str]) -> None:
    query = "?tags=a,b&environment=feature_1"
    reply = tidy.curl(f"/puppet/twitch{query}", *bearer(tokens["deploy"]))
    assert reply.status == 202
    run = str(reply.headers["Puppet-Run"])
    ended = tidy.curl(f"/puppet/runs/{run}?wait=60", *bearer(tokens["deploy"]))
    assert ended.headers["Puppet-Verdict"]
    record = stub.record(tidy, run)
    assert record["caller"] == "token:deploy"
    assert record["client"] in ("127.0.0.1", "::1")
    assert record["options"] == {"noop": False, "tags": ["a", "b"], "environment": "feature_1"}
    careful = tidy.curl("/puppet/twitch?noop", *bearer(tokens["careful"]))
    assert careful.status == 202


def test_from_another_machine_a_token_needs_tls(
    tidy: Machine, tokens: dict[str, str], elsewhere: Netns
) -> None:
    before = access.questions(tidy)
    for address in (tidy.address, f"[{tidy.address6}]"):
        reply = remote(elsewhere, f"http://{address}:2023/puppet/twitch", *bearer(tokens["deploy"]))
        assert reply.status == 403
        assert "Use https, or set plaintext_tokens = yes in [access] of puppet-twitch.conf" in reply.body
        # The node itself, by its own address: nothing leaves it.
        reply = tidy.curl(f"http://{address}:2023/puppet/status", *bearer(tokens["look"]))
        assert reply.status == 200
    assert access.questions(tidy) <= before + 1
    stub.stub_puppet(tidy, access=f"plaintext_tokens = yes\n{CLOSED}")
    reply = remote(elsewhere, f"http://{tidy.address}:2023/puppet/twitch", *bearer(tokens["deploy"]))
    assert reply.status == 202


def test_other_addresses_are_refused_with_the_head(
    tidy: Machine, tokens: dict[str, str], elsewhere: Netns
) -> None:
    stub.stub_puppet(tidy, access="from = 127.0.0.0/8 ::1 10.77.0.0/28\nanonymous = trigger status")
    before = access.questions(tidy)
    with elsewhere.connect(tidy.address, 2023) as connection:
        connection.settimeout(60)
        # The body is announced and never comes: the answer does not wait for it.
        connection.sendall(b"POST /puppet/twitch HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"Not allowed from this address" in answer
    for address in (tidy.address, f"[{tidy.address6}]"):
        for path in ("version", "puppet/twitch", "puppet/twitch?%zz", "nothing"):
            assert remote(elsewhere, f"http://{address}:2023/{path}", *bearer(tokens["deploy"])).status == 403
    assert access.questions(tidy) == before
    assert tidy.curl("/puppet/twitch").status == 202


def test_json_has_problem_details(node: Machine) -> None:
    reply = node.curl("/puppet/twitch", *access.JSON)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert json.loads(reply.body)["status"] == 401
