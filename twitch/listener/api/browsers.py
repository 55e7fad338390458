"""Tell a web page in a browser from a tool: no web page may start runs in the network of its reader.

What was seen (the tables of tests/unit/listener/api/test_browsers.py are recordings):

- A request that a page causes to https, or to localhost, has `Sec-Fetch-Site` (Chromium, Firefox 90 and
  Safari 16.4 or later). To a plain-HTTP address it has no such header, and with `no-referrer` no Referer
  either; after DNS rebinding, for which the node is the page's own site, even a POST may lack all but Origin.
- Every request of a browser has `Accept-Language`. A page may set its value, but cannot leave it out.
- A page of the same site may set `User-Agent` in Firefox. It cannot set `Accept-Encoding`: browsers send
  `gzip, deflate` and more, or `identity` with a Range.
- Node's fetch (undici) sends `Sec-Fetch-Mode` and `Accept-Language: *` without `Sec-Fetch-Site`, which no
  browser does. Deno sends `Accept-Language: *`, and `Accept-Encoding` without deflate.
- PowerShell's agent begins with Mozilla/, as do those of some tools; none of them sends Accept-Language.
"""

from __future__ import annotations

import re

from twitch.listener.exchange import HTTPError, Request

PAGE_HEADERS = ("origin", "referer", "ping-from", "upgrade-insecure-requests")
PAGE_PREFIX = "sec-"
FETCH_MODE = "sec-fetch-mode"
BROWSER_ENCODINGS = r"(?i)\b(deflate|identity)\b"

ENGINE = r"AppleWebKit|Gecko|KHTML|MSIE|Trident|Presto"
# PowerShell 5.1 and later; and the form of robots, which pycurl, WinHTTP and monitoring services use.
TOOL = r"Mozilla/[0-9.]+(.* (Windows)?PowerShell/[0-9][^ ]*|[ +]\(compatible;.*)"


def refuse(request: Request) -> None:
    """Raise `HTTPError` (403) for a request that a web page may have caused.

    A request with a token is not refused: a page that knows a valid token needs no browser. A browser does
    send a client certificate by itself, so with one the page's own marks are refused. The rest is not asked
    for then, because over TLS a browser cannot leave those marks out.
    """
    if "authorization" in request.headers:
        return
    if _from_a_page(request) or (request.certname is None and _from_a_browser(request)):
        raise HTTPError(403, "Not from a browser; use curl", reason="request of a web page")


def _from_a_page(request: Request) -> bool:
    headers = request.headers
    marks = {name for name in headers if name in PAGE_HEADERS or name.startswith(PAGE_PREFIX)}
    return bool(marks) and not (marks == {FETCH_MODE} and _is_undici(request))


def _from_a_browser(request: Request) -> bool:
    language, agent = request.headers.get("accept-language"), request.headers.get("user-agent", "")
    if language is not None:
        encodings = request.headers.get("accept-encoding", "")
        tool = _is_undici(request) or not re.search(BROWSER_ENCODINGS, encodings)
        return language != "*" or not tool or agent.startswith("Mozilla/")
    return agent.startswith("Mozilla/") and (not re.fullmatch(TOOL, agent) or bool(re.search(ENGINE, agent)))


def _is_undici(request: Request) -> bool:
    mode = request.headers.get(FETCH_MODE)
    return mode == "cors" or (mode is not None and request.headers.get("accept-language") == "*")
