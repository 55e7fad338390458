"""Who may what: 401 without a credential or with a bad one, 403 for too small a one, and nothing starts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.e2e import access, stub
from tests.e2e.access import bearer, remote
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns

CLOSED = """\
anonymous =
token:deploy = trigger tags environment=feature_* status
token:look = status
token:careful = noop
token:ci* = trigger
token:ci-small = status
"""


class Closed(NamedTuple):
    """A node that nobody may use without a name, and the names that there are."""

    node: Machine
    tokens: dict[str, str]
    lines: list[str]

    def restore(self) -> None:
        self.node.sh(f"rm -rf {access.TOKENS}; chmod 755 /etc/puppet-twitch")
        stub.clear(self.node)
        stub.stub_puppet(self.node, access=CLOSED)
        access.write_tokens(self.node, *self.lines)


@pytest.fixture(scope="module")
def closed(node12: Machine) -> Iterator[Closed]:
    made = {
        name: access.new_token(node12, name) for name in ("deploy", "look", "careful", "ci-big", "ci-small")
    }
    old, line = access.new_token(node12, "deploy")  # `token` itself makes none that has expired
    lines = ["# a comment", "", *(line for _, line in made.values()), f"{line} 2020-01-01"]
    tokens = {**{name: token for name, (token, _) in made.items()}, "expired": old, "wrong": "A" * 43}
    there = Closed(node12, tokens, lines)
    there.restore()
    yield there
    node12.sh(f"rm {access.TOKENS}")
    stub.clear(node12)


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


@pytest.fixture(scope="module")
def elsewhere(lab: Lab) -> Netns:
    return lab.client("10.77.0.50", "fd77::50")


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


# ---- the file


def test_a_token_is_replaced_without_a_lost_request(tidy: Machine) -> None:
    old, old_line = access.new_token(tidy, "look")
    new, new_line = access.new_token(tidy, "look", "--expires", "2099-12-31")
    access.write_tokens(tidy, old_line)
    statuses: list[int] = []
    current, done = [old], threading.Event()

    def ask() -> None:
        while not done.is_set():
            statuses.append(tidy.curl("/puppet/status", *bearer(current[0])).status)

    def some_more() -> None:
        until = len(statuses) + 5
        tidy.wait(lambda: len(statuses) >= until or not asking.is_alive())

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        some_more()
        access.write_tokens(tidy, old_line, new_line)
        some_more()
        current[0] = new
        some_more()
        access.write_tokens(tidy, new_line)
        some_more()
    finally:
        done.set()
        asking.join()
    assert set(statuses) == {200}
    assert tidy.curl("/puppet/status", *bearer(old)).status == 401
    assert tidy.curl("/puppet/status", *bearer(new)).status == 200


def test_a_half_written_file_lets_nobody_in_and_heals(tidy: Machine, tokens: dict[str, str]) -> None:
    place = access.now(tidy)
    whole = tidy.read(access.TOKENS)
    stub.stub_puppet(tidy, access=f"{CLOSED}\n".replace("anonymous =\n", "anonymous = trigger status\n"))
    line = whole.splitlines()[2]
    for text in (line[: len(line) // 2], f"{line[:-1]}\n", f"{line} 2026-1", "x" * 100_000, "\0" * 10, "é"):
        before = access.questions(tidy)
        tidy.write(access.TOKENS, text, 0o640)
        for shown in ((), bearer(tokens["deploy"])):
            reply = tidy.curl("/puppet/twitch", *shown)
            assert reply.status == 503, text
            assert "its journal says where" in reply.body
        assert access.questions(tidy) == before
    tidy.write(access.TOKENS, whole, 0o640)
    assert tidy.curl("/puppet/twitch", *bearer(tokens["deploy"])).status == 202
    said = access.heard(tidy, place, f"{access.TOKENS}: line 1: must be NAME SHA256 [YYYY-MM-DD]")
    # What stands there may be a token that somebody has pasted.
    assert not any(line[:40] in text for text in said)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(f"chmod 600 {access.TOKENS}", id="mode"),
        pytest.param(f"chown root:root {access.TOKENS}", id="group"),
        pytest.param("chmod 700 /etc/puppet-twitch", id="directory"),
        pytest.param(f"rm {access.TOKENS}; mkdir {access.TOKENS}", id="is-a-directory"),
        pytest.param(f"rm {access.TOKENS}; ln -s {access.TOKENS} {access.TOKENS}", id="is-a-loop"),
    ],
)
def test_a_file_that_cannot_be_read_lets_nobody_in_and_heals(
    tidy: Machine, tokens: dict[str, str], spoil: str
) -> None:
    whole = tidy.read(access.TOKENS).splitlines()
    assert tidy.curl("/puppet/status", *bearer(tokens["look"])).status == 200
    tidy.sh(spoil)
    assert tidy.curl("/puppet/status", *bearer(tokens["look"])).status == 503
    assert tidy.curl("/version").status == 503
    tidy.sh(f"chmod 755 /etc/puppet-twitch; rm -rf {access.TOKENS}")
    access.write_tokens(tidy, *whole)
    assert tidy.curl("/puppet/status", *bearer(tokens["look"])).status == 200


def test_no_token_is_ever_written_down(tidy: Machine, tokens: dict[str, str], elsewhere: Netns) -> None:
    place = access.now(tidy)
    for token in tokens.values():
        tidy.curl("/puppet/twitch", *bearer(token))
        tidy.curl(f"/puppet/twitch?token={token}")
        tidy.curl("/puppet/status", "-u", f"me:{token}")
        remote(elsewhere, f"http://{tidy.address}:2023/puppet/twitch", *bearer(token))
        remote(elsewhere, f"http://{tidy.address}:2023/{token}", "-X", "DELETE", "-d", token)
    tidy.write(access.TOKENS, f"deploy {tokens['deploy']}\n", 0o640)  # pasted in the wrong place
    tidy.curl("/puppet/twitch", *bearer(tokens["deploy"]))
    assert "line 1" in tidy.run("puppet-twitch", "check", check=False).stdout
    access.refused(tidy, place, "x 401")
    written = tidy.run("journalctl", "-b", "-o", "export").stdout
    written += tidy.run("puppet-twitch", "check", check=False).stdout
    written += tidy.sh("cat /proc/[0-9]*/cmdline; grep -rs . /run/puppet-twitch/runs; true").stdout
    assert not any(token in written for token in tokens.values())


# ---- the command


def test_the_command_shows_a_token_once_and_its_line(node: Machine) -> None:
    first, first_line = access.new_token(node, "deploy", "--expires", "2099-01-31")
    second, second_line = access.new_token(node, "deploy")
    assert first != second
    assert len(first) >= 43
    assert first_line.split()[0::2] == ["deploy", "2099-01-31"]
    assert first not in first_line
    assert len(second_line.split()) == 2


BAD_WORDS = {
    "no-name": [],
    "option-as-name": ["--help"],
    "name-with-space": ["a b"],
    "name-with-newline": ["a\nb"],
    "name-with-star": ["a*"],
    "no-date": ["a", "--expires"],
    "not-a-date": ["a", "--expires", "tomorrow"],
    "no-such-day": ["a", "--expires", "2099-02-30"],
    "yesterday": ["a", "--expires", "2020-01-01"],
    "unknown-option": ["a", "--days", "3"],
}


@pytest.mark.parametrize("words", BAD_WORDS.values(), ids=BAD_WORDS)
def test_the_command_makes_no_token_that_could_not_be_used(node: Machine, words: list[str]) -> None:
    done = node.run("puppet-twitch", "token", *words, check=False)
    assert (done.returncode, done.stdout) == (64, "")
    assert len(done.stderr.splitlines()) == 1


# ---- fair shares


def test_anonymous_callers_wait_between_runs_and_others_need_not(tidy: Machine) -> None:
    token, line = access.new_token(tidy, "deploy")
    access.write_tokens(tidy, line)
    stub.stub_puppet(tidy, access="cooldown = 3600\nanonymous = trigger status\ntoken:deploy = trigger")
    stub.end_of(tidy, stub.started(tidy))
    reply = stub.trigger(tidy)
    assert reply.status == 429
    assert 3500 < int(reply.headers["Retry-After"]) <= 3600
    assert tidy.curl("/puppet/twitch", *bearer(token)).status == 202


def test_a_full_run_directory_is_said_and_heals(tidy: Machine) -> None:
    stub.stub_puppet(tidy)
    tidy.sh(
        f"systemctl stop puppet-twitch-run.socket && mount -t tmpfs -o size=64k tmpfs {stub.RUNTIME}"
        " && systemctl start puppet-twitch-run.socket"
    )
    try:
        tidy.sh(f"cat /dev/zero >{stub.RUNTIME}/filler 2>/dev/null; true")
        reply = stub.trigger(tidy)
        assert reply.status == 500
        assert "No space left on device" in reply.body
        assert stub.stub_log(tidy) == []
        tidy.run("rm", f"{stub.RUNTIME}/filler")
        tidy.wait(lambda: stub.trigger(tidy).status == 202)
        tidy.wait(lambda: len(stub.stub_log(tidy)) == 2)
    finally:
        tidy.sh(
            "systemctl stop puppet-twitch-run.socket 'puppet-twitch-run@*'; "
            f"umount {stub.RUNTIME}; systemctl start puppet-twitch-run.socket"
        )


def test_json_has_problem_details(node: Machine) -> None:
    reply = node.curl("/puppet/twitch", *access.JSON)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert json.loads(reply.body)["status"] == 401
