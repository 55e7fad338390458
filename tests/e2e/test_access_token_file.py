"""The file of tokens and the command that makes them: replaced, half written, unreadable, never repeated."""

from __future__ import annotations

import threading
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
    return lab.client("10.77.0.52", "fd77::52")


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
            assert "see its journal" in reply.body
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
    written += tidy.sh("cat /proc/[0-9]*/cmdline; true").stdout
    written += tidy.sh("grep -rs . /run/puppet-twitch/runs /var/lib/puppet-twitch; true").stdout
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
    stub.stub_puppet(tidy, access="anonymous = trigger status logs")  # so that answers have reasons
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
