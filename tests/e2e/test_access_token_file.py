"""The tokens file replaced, invalid or unreadable; the token command; tokens in no log; cooldowns."""

from __future__ import annotations

import threading

import pytest

from tests.e2e import access, stub
from tests.e2e.access import bearer, remote
from tests.e2e.token_node import GRANTS
from tests.lab.machine import Machine
from tests.lab.network import Netns

# -- the file -----------------------------------------------------------------------------------


def test_token_replacement_loses_no_request(clean_token_node: Machine) -> None:
    old, old_line = access.new_token(clean_token_node, "look")
    new, new_line = access.new_token(clean_token_node, "look", "--expires", "2099-12-31")
    access.write_tokens(clean_token_node, old_line)
    statuses: list[int] = []
    current, done = [old], threading.Event()

    def ask() -> None:
        while not done.is_set():
            statuses.append(clean_token_node.curl("/puppet/status", *bearer(current[0])).status)

    def await_five_more() -> None:
        until = len(statuses) + 5
        clean_token_node.wait(lambda: len(statuses) >= until or not asking.is_alive())

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        await_five_more()
        access.write_tokens(clean_token_node, old_line, new_line)
        await_five_more()
        current[0] = new
        await_five_more()
        access.write_tokens(clean_token_node, new_line)
        await_five_more()
    finally:
        done.set()
        asking.join(60)
    assert set(statuses) == {200}
    assert clean_token_node.curl("/puppet/status", *bearer(old)).status == 401
    assert clean_token_node.curl("/puppet/status", *bearer(new)).status == 200


def test_invalid_tokens_file_gets_503_until_it_is_fixed(
    clean_token_node: Machine, tokens: dict[str, str]
) -> None:
    cursor = access.journal_cursor(clean_token_node)
    whole = clean_token_node.read(access.TOKENS)
    stub.stub_puppet(
        clean_token_node, access=f"{GRANTS}\n".replace("anonymous =\n", "anonymous = trigger status\n")
    )
    line = whole.splitlines()[2]
    for text in (line[: len(line) // 2], f"{line[:-1]}\n", f"{line} 2026-1", "x" * 100_000, "\0" * 10, "é"):
        before = access.handlers_started(clean_token_node)
        clean_token_node.write(access.TOKENS, text, 0o640)
        for credential in ((), bearer(tokens["deploy"])):
            reply = clean_token_node.curl("/puppet/twitch", *credential)
            assert reply.status == 503, text
            assert "see its journal" in reply.body
        assert access.handlers_started(clean_token_node) == before
    clean_token_node.write(access.TOKENS, whole, 0o640)
    assert clean_token_node.curl("/puppet/twitch", *bearer(tokens["deploy"])).status == 202
    messages = access.await_message(
        clean_token_node, cursor, f"{access.TOKENS}: line 1: must be NAME SHA256 [YYYY-MM-DD]"
    )
    # The line may be a token, pasted by mistake, and must not be logged.
    assert not any(line[:40] in text for text in messages)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(f"chmod 600 {access.TOKENS}", id="mode"),
        pytest.param(f"chown root:root {access.TOKENS}", id="group"),
        pytest.param("chmod 700 /etc/puppet-twitch", id="directory"),
        pytest.param(f"rm {access.TOKENS}; mkdir {access.TOKENS}", id="is-a-directory"),
        pytest.param(f"rm {access.TOKENS}; ln -s {access.TOKENS} {access.TOKENS}", id="is-a-loop"),
    ],
)
def test_unreadable_tokens_file_gets_503_until_it_is_fixed(
    clean_token_node: Machine, tokens: dict[str, str], command: str
) -> None:
    whole = clean_token_node.read(access.TOKENS).splitlines()
    assert clean_token_node.curl("/puppet/status", *bearer(tokens["look"])).status == 200
    clean_token_node.sh(command)
    assert clean_token_node.curl("/puppet/status", *bearer(tokens["look"])).status == 503
    assert clean_token_node.curl("/version").status == 503
    clean_token_node.sh(f"chmod 755 /etc/puppet-twitch; rm -rf {access.TOKENS}")
    access.write_tokens(clean_token_node, *whole)
    assert clean_token_node.curl("/puppet/status", *bearer(tokens["look"])).status == 200


def test_no_token_is_ever_logged(clean_token_node: Machine, tokens: dict[str, str], elsewhere: Netns) -> None:
    cursor = access.journal_cursor(clean_token_node)
    for token in tokens.values():
        clean_token_node.curl("/puppet/twitch", *bearer(token))
        clean_token_node.curl(f"/puppet/twitch?token={token}")
        clean_token_node.curl("/puppet/status", "-u", f"me:{token}")
        remote(elsewhere, f"http://{clean_token_node.address}:2023/puppet/twitch", *bearer(token))
        remote(elsewhere, f"http://{clean_token_node.address}:2023/{token}", "-X", "DELETE", "-d", token)
    clean_token_node.write(access.TOKENS, f"deploy {tokens['deploy']}\n", 0o640)  # pasted in the wrong place
    clean_token_node.curl("/puppet/twitch", *bearer(tokens["deploy"]))
    assert "line 1" in clean_token_node.run("puppet-twitch", "check", check=False).stdout
    access.logged_refusals(clean_token_node, cursor, "x 401")
    output = clean_token_node.run("journalctl", "-b", "-o", "export").stdout
    output += clean_token_node.run("puppet-twitch", "check", check=False).stdout
    output += clean_token_node.sh(
        "cat /proc/[0-9]*/cmdline; grep -rs . /run/puppet-twitch/runs /var/lib/puppet-twitch; true"
    ).stdout
    assert not any(token in output for token in tokens.values())


# -- the command --------------------------------------------------------------------------------


def test_token_command_prints_a_token_and_its_line(shared_token_node: Machine) -> None:
    first, first_line = access.new_token(shared_token_node, "deploy", "--expires", "2099-01-31")
    second, second_line = access.new_token(shared_token_node, "deploy")
    assert first != second
    assert len(first) >= 43
    assert first_line.split()[0::2] == ["deploy", "2099-01-31"]
    assert first not in first_line
    assert len(second_line.split()) == 2


BAD_WORDS = {
    "no-name": [],
    "option-as-name": ["--name"],
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
def test_token_command_rejects_unusable_arguments(shared_token_node: Machine, words: list[str]) -> None:
    done = shared_token_node.run("puppet-twitch", "token", *words, check=False)
    assert (done.returncode, done.stdout) == (64, "")
    assert len(done.stderr.splitlines()) == 1


# -- the cooldown, and a full directory ---------------------------------------------------------


def test_cooldown_holds_for_anonymous_callers_only(clean_token_node: Machine) -> None:
    token, line = access.new_token(clean_token_node, "deploy")
    access.write_tokens(clean_token_node, line)
    stub.stub_puppet(
        clean_token_node, access="cooldown = 3600\nanonymous = trigger status\ntoken:deploy = trigger"
    )
    stub.end_of(clean_token_node, stub.started(clean_token_node))
    reply = stub.trigger(clean_token_node)
    assert reply.status == 429
    assert 3500 < int(reply.headers["Retry-After"]) <= 3600
    assert clean_token_node.curl("/puppet/twitch", *bearer(token)).status == 202


def test_full_run_directory_gets_500_until_there_is_room(clean_token_node: Machine) -> None:
    stub.stub_puppet(clean_token_node, access=stub.WITH_REASONS)
    clean_token_node.sh(
        "systemctl stop puppet-twitch-run.socket"
        f" && mount -t tmpfs -o size=128k,mode=755 tmpfs {stub.RUNTIME}"
        " && systemctl start puppet-twitch-run.socket"
    )
    try:
        clean_token_node.sh(f"cat /dev/zero >{stub.RUNTIME}/filler 2>/dev/null; true")
        reply = stub.trigger(clean_token_node)
        assert reply.status == 500
        assert "No space left on device" in reply.body
        assert stub.stub_log(clean_token_node) == []
        clean_token_node.run("rm", f"{stub.RUNTIME}/filler")
        clean_token_node.wait(lambda: stub.trigger(clean_token_node).status == 202)
        clean_token_node.wait(lambda: len(stub.stub_log(clean_token_node)) == 2)
    finally:
        stop = "systemctl stop puppet-twitch-run.socket 'puppet-twitch-run@*'"
        clean_token_node.wait(f"{stop}; umount {stub.RUNTIME}")
        clean_token_node.run("systemctl", "start", "puppet-twitch-run.socket")
