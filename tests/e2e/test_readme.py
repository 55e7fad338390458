"""Every command of README.md and HACKING.md is one that works, as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import stub
from tests.lab.machine import Machine

REPOSITORY = Path(__file__).resolve().parents[2]

# Run elsewhere: the demo in test_demo, the installation by the fixture of this node, the listener in
# the foreground in test_node_foreground; the tests are what runs now.
ELSEWHERE = re.compile(
    r"make (demo|test|check|install|deb|rpm|module|dist|uninstall)\b.*|systemctl stop puppet-twitch.socket"
    r"|puppet-twitch listen .*|apt(-get)? .*|dpkg .*|puppet (module|apply) .*|cp .*|.*tests/lab/.*"
    # test_access_*: with certificates, and in an editor.
    r"|ssl=.*|curl --cert .*|editor .*"
)
ASKED = re.compile(r"`(?:curl )?(?:http://node:2023|…)(/[^`]*)`")


def commands() -> list[str]:
    """The lines after a prompt in console blocks, without the explanations beside them."""
    text = (REPOSITORY / "README.md").read_text() + (REPOSITORY / "HACKING.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if re.match(r"[$#] ", line)]
    found = [re.split(r"\s{3,}", line[2:])[0].strip() for line in lines]
    return sorted({command for command in found if not ELSEWHERE.fullmatch(command)})


def urls() -> list[str]:
    """What the table of README.md says one may ask."""
    return sorted(set(ASKED.findall((REPOSITORY / "README.md").read_text())))


@pytest.fixture(scope="module")
def run(node12: Machine) -> Iterator[str]:
    """The id of a run that has ended, on a node that lets anybody do anything."""
    stub.clear(node12)
    node12.write("/etc/puppet/site.pp", "notify { 'hello': }\n")
    node12.write(
        stub.CONFIG,
        "[access]\nanonymous = trigger noop tags environment=* status logs\ncooldown = 0\n"
        "[puppet]\ncommand = apply\nmanifest = /etc/puppet/site.pp\n",
    )
    node12.sh("systemctl enable puppet-twitch.socket")
    node12.curl("http://127.0.0.1:2023/no/such/thing")
    node12.wait("journalctl -t puppet-twitch -g ^refused")
    reply = node12.curl("http://127.0.0.1:2023/puppet/twitch?async=false")
    yield reply.headers["Puppet-Run"]
    stub.clear(node12)


def with_id(text: str, run: str) -> str:
    """A command as this run makes it: its id, its caller, its address."""
    text = text.replace("token:deploy", "anonymous").replace("192.0.2.7", "127.0.0.1")
    return re.sub(r"(?<=[=/])ID\b", run, text)


def test_there_are_commands() -> None:
    assert len(commands()) >= 5
    assert len(urls()) >= 8


@pytest.mark.parametrize("command", commands())
def test_a_command_works(node12: Machine, run: str, command: str) -> None:
    done = node12.sh(with_id(command, run), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if command.startswith(("journalctl", "curl")):
        assert done.stdout.strip()
        assert "No entries" not in done.stdout


@pytest.mark.parametrize("url", urls())
def test_a_url_is_answered(node12: Machine, run: str, url: str) -> None:
    node12.wait(lambda: node12.curl("/puppet/status").body == "idle\n")
    if "max_age" in url:  # one of the commands has stopped a run
        assert node12.curl("/puppet/twitch?async=false", timeout_s=90).status == 200
    assert node12.curl(with_id(url, run), timeout_s=90).status in (200, 202)


def test_the_first_answer_is_the_real_one(node12: Machine, run: str) -> None:
    first = re.findall(r"```console\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)[0]
    node12.wait(lambda: node12.curl("/puppet/status").body == "idle\n")
    reply = node12.curl("/puppet/twitch")
    assert f" {reply.status} " in first
    assert reply.body in first
    assert f"Location: {reply.headers['Location']}".replace(reply.headers["Puppet-Run"], "") in first
