"""Tools that look like browsers may trigger runs: Node's fetch, PowerShell, Deno; and a token needs no more.

Node is Debian's. PowerShell and Deno are in no Debian: their headers are sent by curl.
"""

from __future__ import annotations

import pytest

from tests.e2e import access, stub
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns


@pytest.fixture
def node(clean_node12: Machine) -> Machine:
    stub.stub_puppet(clean_node12, access="plaintext_tokens = yes\ntoken:deploy = trigger")
    return clean_node12


@pytest.fixture(scope="session")
def tool(lab: Lab) -> Netns:
    return lab.client("10.77.0.82")


@pytest.fixture
def token(node: Machine) -> str:
    token, line = access.new_token(node, "deploy")
    access.write_tokens(node, line)
    return token


FETCH = """
fetch(process.argv[1], JSON.parse(process.argv[2])).then(async answer =>
  console.log(answer.status, await answer.text()))
"""
FORM = '{"method": "POST", "body": "async=true", "headers": {"Content-Type": "FORM"}}'.replace(
    "FORM", "application/x-www-form-urlencoded"
)
NODE = {
    "get": "{}",
    "post": '{"method": "POST"}',
    "form": FORM,
    "no-cors": '{"mode": "no-cors"}',
    "token": '{"headers": {"Authorization": "Bearer TOKEN"}}',
}


@pytest.mark.parametrize("options", NODE.values(), ids=NODE)
def test_fetch_of_node_triggers_a_run(node: Machine, token: str, tool: Netns, options: str) -> None:
    url = f"http://{node.address}:2023/puppet/twitch"
    done = tool.run("node", "-e", FETCH, url, options.replace("TOKEN", token))
    assert done.stdout == "202 Triggered puppet run\n"


WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.19045; en-US)"
HEADERS = {
    "powershell": (f"User-Agent: {WINDOWS} PowerShell/7.4.6",),
    "powershell-5": (f"User-Agent: {WINDOWS} WindowsPowerShell/5.1.19041.1",),
    "deno": ("User-Agent: Deno/2.1.4", "Accept-Language: *", "Accept-Encoding: gzip, br"),
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("with_token", [False, True], ids=["anonymous", "token"])
def test_tool_that_looks_like_a_browser_triggers_a_run(
    node: Machine, token: str, tool: Netns, headers: tuple[str, ...], with_token: bool
) -> None:
    sent = (*headers, *((f"Authorization: Bearer {token}",) if with_token else ()))
    options = [word for header in sent for word in ("-H", header)]
    assert access.remote(tool, f"http://{node.address}:2023/puppet/twitch", *options).status == 202


def test_valid_token_is_enough_from_a_browser(node: Machine, token: str, tool: Netns) -> None:
    marks = [
        "-H",
        "Origin: http://dashboard.example.com",
        "-H",
        "Sec-Fetch-Site: cross-site",
        "-A",
        "Mozilla/5.0",
    ]
    url = f"http://{node.address}:2023/puppet/twitch"
    assert access.remote(tool, url, *marks).status == 403
    assert access.remote(tool, url, *marks, *access.bearer(token)).status == 202
