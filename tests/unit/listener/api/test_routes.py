"""Paths, methods and request targets: which exist, and how all others are refused."""

from __future__ import annotations

import pytest

import twitch
from tests.unit.api_under_test import RUN, ApiUnderTest, node_status
from twitch.listener.api import routes


@pytest.mark.parametrize(
    "target", ["/version", "/info", "/puppet/status", "/puppet/runs", f"/puppet/runs/{RUN}"]
)
async def test_head_is_get_without_the_body(api: ApiUnderTest, target: str) -> None:
    api.root_answers("status", status=node_status())
    api.finish("changed")
    got, head = await api.get(target), await api.ask("HEAD", target)
    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
    assert got.body


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/version?", id="empty-query"),
        pytest.param("/v%65rsion", id="escaped"),
        pytest.param("http://node/version", id="absolute-form"),
        pytest.param("HTTPS://node:2023/version", id="absolute-form-in-capitals"),
    ],
)
async def test_other_spellings_of_a_path(api: ApiUnderTest, target: str) -> None:
    assert (await api.get(target)).text == f"{twitch.__version__}\n"


@pytest.mark.parametrize("target", ["http://node/puppet/twitch?queue=maybe", "/puppet/twitch?queue=maybe"])
async def test_query_of_the_absolute_form_is_read(api: ApiUnderTest, target: str) -> None:
    assert (await api.get(target)).status == 400


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/puppet",
        "/puppet/",
        "/puppet/twitch/",
        "//puppet/twitch",
        "/Puppet/twitch",
        "/version/",
        "/.",
        "/puppet/../version",
        "/version%00",
        "/%ff",
        "http://node",
        "http://node?async",
        "http://node?/puppet/twitch",
        "http://node?noop=true/puppet/twitch",
        "HTTP://node?noop=true/puppet/twitch",
        "http://user?@node/puppet/twitch",
        "/puppet/runs/",
        "/puppet/runs/x",
        f"/puppet/runs/{RUN}/",
        f"/puppet/runs/x/{RUN}",
        "/puppet/runs/../lock",
        f"/puppet/runs/{RUN[:-1]}%0a",
        f"/puppet/runs/{RUN.replace('1', 'A')}",
        "/puppet/runs/%2e%2e%2fcurrent",
    ],
)
async def test_any_other_path_is_not_found(api: ApiUnderTest, target: str) -> None:
    api.finish("changed", run="2" * 32)
    assert (await api.get(target)).status == 404
    assert api.root.asked == []


@pytest.mark.parametrize(
    "target",
    [
        "http://",
        "http:///puppet/twitch",
        "http://?noop=true/puppet/twitch",
        "http://:2023/puppet/twitch",
        "http://[]/puppet/twitch",
        "http://#/puppet/twitch",
        "http://\\/puppet/twitch",
        "http://user@node/puppet/twitch",
        "http://user:secret@node/puppet/twitch",
        "http://@/puppet/twitch",
        "http://node:port/puppet/twitch",
        "http://node%2/puppet/twitch",
        "http://[node]/puppet/twitch",
        "http:node/puppet/twitch",
        "http:/puppet/twitch",
        "http://node#x",
        "http://node#/puppet/twitch",
        "http://node/puppet/twitch#?noop=true",
        "http://node\\/puppet/twitch",
        "ftp://node/puppet/twitch",
    ],
)
async def test_target_that_is_no_http_url_is_a_bad_request(api: ApiUnderTest, target: str) -> None:
    assert (await api.get(target)).status == 400
    assert api.root.asked == []


# RFC 3986 section 3.2: the authority begins after `//` and ends at the next `/`, `?` or `#`.
TARGETS = {
    "path": ("/puppet/twitch", "/puppet/twitch", ""),
    "path-and-query": ("/puppet/twitch?noop", "/puppet/twitch", "noop"),
    "query-in-query": ("/puppet/twitch?a=b?c", "/puppet/twitch", "a=b?c"),
    "two-slashes": ("//node/puppet/twitch", "//node/puppet/twitch", ""),
    "url": ("http://node/puppet/twitch?noop", "/puppet/twitch", "noop"),
    "https": ("https://node/puppet/twitch", "/puppet/twitch", ""),
    "upper-case": ("HTTPS://NODE/puppet/twitch?noop", "/puppet/twitch", "noop"),
    "port": ("http://node:2023/puppet/twitch", "/puppet/twitch", ""),
    "ipv6": ("http://[::1]:2023/puppet/twitch", "/puppet/twitch", ""),
    "userinfo": ("http://user@node/puppet/twitch?noop", "/puppet/twitch", "noop"),
    "no-path": ("http://node", "/", ""),
    "no-path-but-a-query": ("http://node?x", "/", "x"),
    "slash-in-the-query": ("http://node?noop=true/puppet/twitch", "/", "noop=true/puppet/twitch"),
    "question-mark-in-userinfo": ("http://user?@node/puppet/twitch", "/", "@node/puppet/twitch"),
    "no-host": ("http:///puppet/twitch", "/puppet/twitch", ""),  # refused by exchange.py before
    # Fragments and backslashes are refused by exchange.py; if they came this far, they would not be found.
    "fragment": ("http://node#x", "#x", ""),
    "slash-in-the-fragment": ("http://node#/puppet/twitch", "#/puppet/twitch", ""),
    "fragment-without-a-host": ("http://#/puppet/twitch", "#/puppet/twitch", ""),
    "backslash": ("http://node\\/puppet/twitch", "\\/puppet/twitch", ""),
}


@pytest.mark.parametrize(("target", "path", "query"), TARGETS.values(), ids=TARGETS)
def test_path_and_query_of_a_request_target(target: str, path: str, query: str) -> None:
    assert routes._split(target) == (path, query)


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("/puppet/twitch", "GET, POST"),
        ("/puppet/status", "GET, HEAD"),
        ("/puppet/runs", "GET, HEAD"),
        (f"/puppet/runs/{RUN}", "GET, HEAD"),
        ("/version", "GET, HEAD"),
        ("/info", "GET, HEAD"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "BREW", "get", "TRACE"])
async def test_other_method_is_refused_with_the_allowed_ones(
    api: ApiUnderTest, target: str, allow: str, method: str
) -> None:
    reply = await api.ask(method, target)
    assert (reply.status, reply.headers["allow"]) == (405, allow)
    assert reply.text == f"{target} takes {allow.replace(', ', ' or ')}\n"


async def test_head_triggers_no_run(api: ApiUnderTest) -> None:
    assert (await api.ask("HEAD", "/puppet/twitch")).status == 405
    assert api.root.asked == []


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("CONNECT", "example.com:443", 400),
        ("GET", "http://example.com/", 404),
        ("OPTIONS", "*", 404),
        ("GET", "version", 400),
    ],
)
async def test_proxy_requests_are_refused(api: ApiUnderTest, method: str, target: str, status: int) -> None:
    assert (await api.ask(method, target)).status == status


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/version?x=1", "Unknown parameter 'x'; none is known here"),
        ("/puppet/status?async", "Unknown parameter 'async'; known here: max_age"),
        (f"/puppet/runs/{RUN}?noop", "Unknown parameter 'noop'; known here: wait"),
        ("/puppet/runs?wait=1", "Unknown parameter 'wait'; known here: limit, since, verdict"),
        (
            "/puppet/status?max_age=soon",
            "Parameter max_age must be a time such as 90s, 30m, 2h or 7d",
        ),
        ("/puppet/status?a%1bb", r"Unknown parameter 'a\x1bb'; known here: max_age"),
    ],
)
async def test_unknown_or_invalid_parameter_is_named(api: ApiUnderTest, target: str, text: str) -> None:
    api.root_answers("status", status=node_status())
    reply = await api.get(target)
    assert (reply.status, reply.text) == (400, f"{text}\n")


async def test_body_of_another_media_type_is_refused(api: ApiUnderTest) -> None:
    reply = await api.ask("POST", "/puppet/twitch", "Content-Type: text/plain", body=b"noop=true")
    assert (reply.status, api.root.asked) == (415, [])


async def test_body_of_a_get_is_refused(api: ApiUnderTest) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    reply = await api.ask("GET", "/puppet/twitch", form, body=b"noop=true")
    assert (reply.status, api.root.asked) == (400, [])
