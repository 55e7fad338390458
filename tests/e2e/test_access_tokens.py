"""Tokens and grants: 401 without a valid token, 403 without the grant, and then no handler is started."""

from __future__ import annotations

import json

import pytest

from tests.e2e import access, stub
from tests.e2e.access import bearer, remote
from tests.e2e.token_node import GRANTS
from tests.lab.machine import Machine
from tests.lab.network import Netns


def test_token_from_a_file_as_readme_shows(clean_token_node: Machine, tokens: dict[str, str]) -> None:
    clean_token_node.write("/root/token", f"Authorization: Bearer {tokens['deploy']}\n", 0o600)
    assert clean_token_node.curl("/puppet/twitch", "-H", "@/root/token").status == 202


REFUSED = {
    "anonymous": ("", None, 401, "has the grant trigger"),
    "anonymous-status": ("status", None, 401, "has the grant status"),
    "anonymous-runs": ("runs", None, 401, "has the grant status"),
    "wrong": ("", "wrong", 401, "wrong or has expired"),
    "wrong-version": ("/version", "wrong", 401, "wrong or has expired"),
    "expired": ("", "expired", 401, "wrong or has expired"),
    "no-trigger": ("", "look", 403, "token:look has no grant trigger"),
    "no-trigger-but-noop": ("", "careful", 403, "token:careful has no grant trigger"),
    "no-noop": ("?noop", "deploy", 403, "token:deploy has no grant noop"),
    "no-tags": ("?noop&tags=a", "careful", 403, "token:careful has no grant tags"),
    "no-environment": ("?environment=production", "deploy", 403, "no grant environment=production"),
    "no-status": ("status", "careful", 403, "token:careful has no grant status"),
    "more-specific-line-applies": ("", "ci-small", 403, "token:ci-small has no grant trigger"),
}


@pytest.mark.parametrize(("path", "token", "status", "text"), REFUSED.values(), ids=REFUSED)
def test_caller_without_the_grant_is_refused(
    shared_token_node: Machine, tokens: dict[str, str], path: str, token: str | None, status: int, text: str
) -> None:
    if not path.startswith("/"):
        path = f"/puppet/{path}" if path[:1].isalpha() else f"/puppet/twitch{path}"
    before = access.handlers_started(shared_token_node)
    reply = shared_token_node.curl(path, *(bearer(tokens[token]) if token else ()))
    assert (reply.status, text in reply.body) == (status, True), reply.body
    assert (reply.headers["WWW-Authenticate"] == 'Bearer realm="puppet-twitch"') == (status == 401)
    assert not any(value in reply.body for value in tokens.values())
    assert access.handlers_started(shared_token_node) == before
    assert stub.stub_log(shared_token_node) == []


FORMS = {
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


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_token_in_another_form_is_refused(
    shared_token_node: Machine, tokens: dict[str, str], form: str
) -> None:
    token = tokens["deploy"]
    credential = form.format(token=token, lower=token.swapcase(), prefix=token[:-1])
    reply = shared_token_node.curl("/puppet/status", "-H", f"Authorization: {credential}")
    assert reply.status == 401


@pytest.mark.parametrize("place", ["?token=", "?access_token=", "?Authorization=Bearer%20"])
def test_token_in_the_url_is_refused(shared_token_node: Machine, tokens: dict[str, str], place: str) -> None:
    reply = shared_token_node.curl(f"/puppet/status{place}{tokens['deploy']}")
    assert reply.status == 400
    assert tokens["deploy"] not in reply.body


def test_granted_run_is_recorded_with_its_caller(clean_token_node: Machine, tokens: dict[str, str]) -> None:
    query = "?tags=a,b&environment=feature_1"
    reply = clean_token_node.curl(f"/puppet/twitch{query}", *bearer(tokens["deploy"]))
    assert reply.status == 202
    run = str(reply.headers["Puppet-Run"])
    ended = clean_token_node.curl(f"/puppet/runs/{run}?wait=60", *bearer(tokens["deploy"]))
    assert ended.headers["Puppet-Verdict"]
    record = stub.record(clean_token_node, run)
    assert record["caller"] == "token:deploy"
    assert record["client"] in ("127.0.0.1", "::1")
    assert record["options"] == {"noop": False, "tags": ["a", "b"], "environment": "feature_1"}
    careful = clean_token_node.curl("/puppet/twitch?noop", *bearer(tokens["careful"]))
    assert careful.status == 202


def test_token_over_plain_http_from_another_machine_is_refused(
    clean_token_node: Machine, tokens: dict[str, str], elsewhere: Netns
) -> None:
    for address in (clean_token_node.address, f"[{clean_token_node.address6}]"):
        before = access.handlers_started(clean_token_node)
        reply = remote(elsewhere, f"http://{address}:2023/puppet/twitch", *bearer(tokens["deploy"]))
        assert reply.status == 403
        assert "Use https, or set plaintext_tokens = yes in [access] of puppet-twitch.conf" in reply.body
        assert access.handlers_started(clean_token_node) == before
        # The node itself, by its own address: the token does not leave the node.
        reply = clean_token_node.curl(f"http://{address}:2023/puppet/status", *bearer(tokens["look"]))
        assert reply.status == 200
    stub.stub_puppet(clean_token_node, access=f"plaintext_tokens = yes\n{GRANTS}")
    reply = remote(
        elsewhere, f"http://{clean_token_node.address}:2023/puppet/twitch", *bearer(tokens["deploy"])
    )
    assert reply.status == 202


def test_address_outside_from_is_refused_before_the_body(
    clean_token_node: Machine, tokens: dict[str, str], elsewhere: Netns
) -> None:
    stub.stub_puppet(
        clean_token_node, access="from = 127.0.0.0/8 ::1 10.77.0.0/28\nanonymous = trigger status"
    )
    before = access.handlers_started(clean_token_node)
    with elsewhere.connect(clean_token_node.address, 2023) as connection:
        connection.settimeout(60)
        # The body never comes, and the answer does not wait for it.
        connection.sendall(b"POST /puppet/twitch HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"Not allowed from this address" in answer
    for address in (clean_token_node.address, f"[{clean_token_node.address6}]"):
        for path in ("version", "puppet/twitch", "puppet/twitch?%zz", "nothing"):
            assert remote(elsewhere, f"http://{address}:2023/{path}", *bearer(tokens["deploy"])).status == 403
    assert access.handlers_started(clean_token_node) == before
    assert clean_token_node.curl("/puppet/twitch").status == 202


def test_refusal_as_json_is_problem_details(shared_token_node: Machine) -> None:
    reply = shared_token_node.curl("/puppet/twitch", *access.JSON)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert json.loads(reply.body)["status"] == 401
