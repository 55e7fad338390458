"""A request of a web page is refused in every form that browsers send; tools that look alike are let in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.api_under_test import ApiUnderTest
from twitch.listener.api import browsers
from twitch.listener.exchange import HTTPError, Request

REFUSED = "Not from a browser; use curl"


def request(*lines: str, method: str = "GET", certname: str = "") -> Request:
    """Return a request with these headers."""
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, "/puppet/twitch", headers, b"", "192.0.2.7", certname=certname or None)


def is_refused(asked: Request) -> bool:
    try:
        browsers.refuse(asked)
    except HTTPError as error:
        assert (error.status, str(error)) == (403, REFUSED)
        return True
    return False


# ---- recorded from browsers

RECORDED = Path(__file__).parent / "recorded"


def recorded(browser: str) -> dict[str, list[str]]:
    """Return what a browser sent, by the way in which the page made it send: a request line and headers.

    The page was at http://evil.test, which is not trustworthy, and the node either at loopback, which is, or
    at the same name, as after DNS rebinding (`same-site…`, `xhr`, `event-source`).
    """
    blocks = RECORDED.joinpath(browser).read_text().split("\n\n")
    named = [block.strip().splitlines() for block in blocks if block.strip()]
    return {f"{browser}-{name[2:]}": lines for name, *lines in named}


PAGES = {**recorded("firefox-153"), **recorded("chromium-156")}


@pytest.mark.parametrize("lines", PAGES.values(), ids=PAGES)
def test_request_of_a_page_is_refused(lines: list[str]) -> None:
    first, *headers = lines
    assert is_refused(request(*headers, method=first.partition(" ")[0]))


@pytest.mark.parametrize("lines", PAGES.values(), ids=PAGES)
def test_request_of_a_page_to_a_plain_address_is_refused(lines: list[str]) -> None:
    # To an address that is not trustworthy a browser sends neither Sec-* nor br and zstd, and the page can
    # suppress the Referer.
    headers = [line for line in lines[1:] if not line.lower().startswith(("sec-", "referer", "origin"))]
    assert is_refused(request(*(line.replace("deflate, br, zstd", "deflate") for line in headers)))


# ---- tools, as they introduce themselves

UNDICI = ("accept: */*", "accept-language: *", "sec-fetch-mode: cors", "accept-encoding: gzip, deflate")
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.19045; en-US)"
TOOLS = {
    "node-fetch": (*UNDICI, "user-agent: node"),
    "undici-fetch": (*UNDICI, "user-agent: undici"),
    "node-fetch-no-cors": (*UNDICI[:2], "sec-fetch-mode: no-cors", "user-agent: node"),
    "node-http": ("Connection: keep-alive",),
    "deno": ("accept: */*", "accept-language: *", "user-agent: Deno/1.46.3", "accept-encoding: gzip,br"),
    "deno-2": ("accept: */*", "accept-language: *", "user-agent: Deno/2.1.4", "accept-encoding: gzip, br"),
    "no-agent": ("accept-language: *",),
    "bun": ("Accept: */*", "User-Agent: Bun/1.1.38", "Accept-Encoding: gzip, deflate, br"),
    "axios": (
        "Accept: application/json, text/plain, */*",
        "User-Agent: axios/1.7.9",
        "Accept-Encoding: gzip, compress, deflate, br",
    ),
    "node-fetch-package": (
        "Accept: */*",
        "Accept-Encoding: gzip, deflate, br",
        "User-Agent: node-fetch (+https://github.com/node-fetch/node-fetch)",
    ),
    "got": ("user-agent: got (https://github.com/sindresorhus/got)", "accept-encoding: gzip, deflate, br"),
    "powershell-windows": (f"User-Agent: {WINDOWS} PowerShell/7.4.6", "Accept-Encoding: gzip, deflate, br"),
    "powershell-preview": (f"User-Agent: {WINDOWS} PowerShell/7.5.0-preview.3",),
    "powershell-linux": (
        "User-Agent: Mozilla/5.0 (Linux; Debian GNU/Linux 12 (bookworm); en-US) PowerShell/7.4.6",
    ),
    "powershell-macos": (
        "User-Agent: Mozilla/5.0 (Macintosh; Darwin 23.6.0 Darwin Kernel Version 23.6.0: Mon Jul 29 21:13:00 "
        "PDT 2024; root:xnu-10063.141.2~1/RELEASE_X86_64; en-US) PowerShell/7.4.5",
    ),
    "powershell-5": (
        "User-Agent: Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.1",
    ),
    "java-http-client": (
        "Connection: Upgrade, HTTP2-Settings",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
        "Upgrade: h2c",
        "User-Agent: Java-http-client/17.0.13",
    ),
    "java-url-connection": (
        "User-Agent: Java/17.0.13",
        "Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
    ),
    "okhttp": ("Accept-Encoding: gzip", "User-Agent: okhttp/4.12.0"),
    "python-requests": (
        "User-Agent: python-requests/2.28.1",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
    ),
    "python-httpx": ("Accept: */*", "Accept-Encoding: gzip, deflate, br", "User-Agent: python-httpx/0.27.0"),
    "python-aiohttp": ("Accept: */*", "Accept-Encoding: gzip, deflate", "User-Agent: aiohttp/3.8"),
    "python-urllib": ("Accept-Encoding: identity", "User-Agent: Python-urllib/3.11"),
    "tornado-curl": ("User-Agent: Mozilla/5.0 (compatible; pycurl)",),
    "go": ("User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip"),
    "httpie": ("Accept-Encoding: gzip, deflate", "Accept: */*", "User-Agent: HTTPie/3.2.1"),
    "wget": ("User-Agent: Wget/1.21.3", "Accept: */*", "Accept-Encoding: identity"),
    "curl": ("User-Agent: curl/7.88.1", "Accept: */*"),
    "postman": (
        "User-Agent: PostmanRuntime/7.43.0",
        "Postman-Token: 2f4b4d9e-7b5c-4b5a-9d3c-0d6a0a2a2f11",
        "Cache-Control: no-cache",
        "Accept-Encoding: gzip, deflate, br",
    ),
    "insomnia": ("User-Agent: insomnia/10.2.0", "Accept: */*"),
    "ruby": ("Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3", "Accept: */*", "User-Agent: Ruby"),
    "perl": ("TE: deflate,gzip;q=0.3", "Connection: TE, close", "User-Agent: libwww-perl/6.68"),
    "winhttp": ("User-Agent: Mozilla/4.0 (compatible; Win32; WinHttp.WinHttpRequest.5)", "Accept: */*"),
    "uptimerobot": ("User-Agent: Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",),
    "prtg": ("User-Agent: Mozilla/5.0 (compatible; PRTG Network Monitor (www.paessler.com); Windows)",),
    "nagios": ("User-Agent: check_http/v2.3.3 (monitoring-plugins 2.3.3)", "Connection: close"),
    "gitlab": ("User-Agent: GitLab/16 (Mozilla compatible)",),
    "puppet": ("Accept: application/json", "User-Agent: Puppet/7.23.0 Ruby/3.1.2-p20 (x86_64-linux-gnu)"),
}


@pytest.mark.parametrize("headers", TOOLS.values(), ids=TOOLS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_request_of_a_tool_becomes_a_run(
    api: ApiUnderTest, method: str, headers: tuple[str, ...]
) -> None:
    assert (await api.ask(method, "/puppet/twitch", *headers)).status == 202


# ---- what a page could pretend

PRETENDING = {
    # Firefox lets a page set User-Agent for its own site, and every browser lets it set Accept-Language.
    "deno": ("Accept-Language: *", "User-Agent: Deno/1.46.3", "Accept-Encoding: gzip, deflate"),
    "deno-range": ("Accept-Language: *", "User-Agent: Deno/1.46.3", "Accept-Encoding: identity"),
    "deno-media": ("Accept-Language: *", "User-Agent: x", "Accept-Encoding: identity;q=1, *;q=0"),
    "powershell": (f"User-Agent: {WINDOWS} PowerShell/7.4.6", "Accept-Language: en"),
    "powershell-any-language": (
        f"User-Agent: {WINDOWS} PowerShell/7.4.6",
        "Accept-Language: *",
        "Accept-Encoding: gzip,br",
    ),
    "powershell-as-chrome": (
        f"User-Agent: {WINDOWS} AppleWebKit/534.6 (KHTML, like Gecko) Chrome/7.0.500.0 PowerShell/7.4.6",
    ),
    "compatible": ("User-Agent: Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)",),
    "node-cross-site": (*UNDICI, "Sec-Fetch-Site: cross-site"),
    "node-dest": (*UNDICI, "Sec-Fetch-Dest: empty"),
    "node-origin": (*UNDICI, "Origin: null"),
    "node-referer": (*UNDICI, "Referer: http://evil.example.com/"),
    "node-two-languages": ("Accept-Language: *, en", "sec-fetch-mode: no-cors"),
    "mode-alone": ("Sec-Fetch-Mode: navigate",),
    "ping": ("Ping-From: http://evil.example.com/", "Ping-To: http://node:2023/"),
    "navigation": ("Upgrade-Insecure-Requests: 1",),
    "language-empty": ("Accept-Language:", "User-Agent: curl/8"),
    "agent-alone": ("User-Agent: Mozilla/5.0 (X11; Linux x86_64)",),
}


@pytest.mark.parametrize("headers", PRETENDING.values(), ids=PRETENDING)
def test_page_that_pretends_to_be_a_tool_is_refused(headers: tuple[str, ...]) -> None:
    assert is_refused(request(*headers))


# ---- credentials

FROM_A_PAGE = ("Sec-Fetch-Site: cross-site", "Origin: http://evil.example.com", "Accept-Language: en")


async def test_valid_token_is_asked_for_nothing_more(api: ApiUnderTest) -> None:
    api.allow("anonymous =", "token:a = trigger", "plaintext_tokens = yes")
    for headers in (*TOOLS.values(), *PRETENDING.values(), FROM_A_PAGE):
        assert (await api.get("/puppet/twitch", api.token("a"), *headers)).status in (202, 409)


async def test_wrong_token_is_401_whatever_else_the_request_has(api: ApiUnderTest) -> None:
    api.allow("plaintext_tokens = yes")
    reply = await api.get("/puppet/twitch", "Authorization: Bearer wrong", *FROM_A_PAGE)
    assert (reply.status, api.root.asked) == (401, [])


@pytest.mark.parametrize(
    "headers", [("Accept-Language: en",), ("User-Agent: Mozilla/5.0 Gecko/20100101",), *TOOLS.values()]
)
def test_certificate_is_not_asked_for_language_and_agent(headers: tuple[str, ...]) -> None:
    assert not is_refused(request(*headers, certname="ci.example.com"))


@pytest.mark.parametrize("lines", PAGES.values(), ids=PAGES)
def test_certificate_that_a_browser_sends_for_a_page_is_refused(lines: list[str]) -> None:
    # Over https, where every request of a page has Sec-Fetch-Site: it is trustworthy, as loopback is.
    marks = [*lines[1:], "Sec-Fetch-Site: cross-site"]
    assert is_refused(request(*marks, certname="admin.example.com"))
