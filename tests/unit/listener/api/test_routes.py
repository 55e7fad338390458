"""Paths, methods and forms of answers: what is there, and how the rest is refused."""

from __future__ import annotations

import json

import pytest

import twitch
from tests.unit.desk import RUN, Desk, look

JSON = "Accept: application/json"


async def test_version(desk: Desk) -> None:
    reply = await desk.get("/version")
    assert (reply.status, reply.text) == (200, f"{twitch.__version__}\n")
    assert await desk.json("/version") == {"http": 200, "message": twitch.__version__}


async def test_info(desk: Desk) -> None:
    reply = await desk.get("/info")
    assert (reply.status, reply.text) == (200, "Puppet Twitch - A simple endpoint for triggering puppet\n")


@pytest.mark.parametrize(
    "target", ["/version", "/info", "/puppet/status", "/puppet/runs", f"/puppet/runs/{RUN}"]
)
async def test_head_is_get_without_the_body(desk: Desk, target: str) -> None:
    desk.says("status", status=look())
    desk.finish("changed")
    got, head = await desk.get(target), await desk.ask("HEAD", target)
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
async def test_the_same_path_in_other_words(desk: Desk, target: str) -> None:
    assert (await desk.get(target)).text == f"{twitch.__version__}\n"


@pytest.mark.parametrize("target", ["http://node/puppet/twitch?queue=maybe", "/puppet/twitch?queue=maybe"])
async def test_the_query_of_an_absolute_form_is_a_query(desk: Desk, target: str) -> None:
    assert (await desk.get(target)).status == 400


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
async def test_anything_else_is_not_found(desk: Desk, target: str) -> None:
    desk.finish("changed", run="2" * 32)
    assert (await desk.get(target)).status == 404


async def test_an_unknown_run_is_not_found(desk: Desk) -> None:
    reply = await desk.get(f"/puppet/runs/{RUN}")
    assert (reply.status, reply.text) == (404, "No such run; the last ones are at /puppet/runs\n")


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
async def test_another_method_is_refused_with_those_that_work(
    desk: Desk, target: str, allow: str, method: str
) -> None:
    reply = await desk.ask(method, target)
    assert (reply.status, reply.headers["allow"]) == (405, allow)
    assert reply.text == f"{target} takes {allow.replace(', ', ' or ')}\n"


async def test_head_triggers_nothing(desk: Desk) -> None:
    assert (await desk.ask("HEAD", "/puppet/twitch")).status == 405
    assert desk.root.asked == []


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("CONNECT", "example.com:443", 400),
        ("GET", "http://example.com/", 404),
        ("OPTIONS", "*", 404),
        ("GET", "version", 400),
    ],
)
async def test_it_is_no_proxy(desk: Desk, method: str, target: str, status: int) -> None:
    assert (await desk.ask(method, target)).status == status


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/version?x=1", "Unknown parameter 'x'; none is known here"),
        ("/puppet/status?async", "Unknown parameter 'async'; known here: max_age"),
        (f"/puppet/runs/{RUN}?noop", "Unknown parameter 'noop'; known here: wait"),
        ("/puppet/runs?wait=1", "Unknown parameter 'wait'; none is known here"),
        (
            "/puppet/status?max_age=soon",
            "Parameter max_age must be a span of time such as 90s, 30m, 2h or 7d",
        ),
        ("/puppet/status?a%1bb", r"Unknown parameter 'a\x1bb'; known here: max_age"),
    ],
)
async def test_a_parameter_that_is_not_understood_is_named(desk: Desk, target: str, text: str) -> None:
    desk.says("status", status=look())
    reply = await desk.get(target)
    assert (reply.status, reply.text) == (400, f"{text}\n")


async def test_a_body_of_another_kind_is_refused(desk: Desk) -> None:
    reply = await desk.ask("POST", "/puppet/twitch", "Content-Type: text/plain", body=b"noop=true")
    assert (reply.status, desk.root.asked) == (415, [])


async def test_a_body_that_nobody_would_read_is_refused(desk: Desk) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    reply = await desk.ask("GET", "/puppet/twitch", form, body=b"noop=true")
    assert (reply.status, desk.root.asked) == (400, [])


# ---- forms


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "text/html, application/json;q=0.9",
        "application/problem+json",
        "application/json, */*",
    ],
)
async def test_json_is_for_who_asks_for_it_by_name(desk: Desk, accept: str) -> None:
    reply = await desk.get("/info", f"Accept: {accept}")
    assert (reply.headers["content-type"], json.loads(reply.body)["message"][:6]) == (
        "application/json",
        "Puppet",
    )


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/*", ""])
async def test_text_is_for_everybody_else(desk: Desk, accept: str) -> None:
    reply = await desk.get("/info", f"Accept: {accept}")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("target", "status", "title"),
    [
        ("/nothing", 404, "Not Found"),
        ("/version?x", 400, "Bad Request"),
        ("/puppet/twitch?noop", 401, "Unauthorized"),
    ],
)
async def test_errors_in_json_are_problem_details(desk: Desk, target: str, status: int, title: str) -> None:
    told = await desk.json(target)  # with the media type that RFC 9457 has for them
    text = (await desk.get(target)).text.removesuffix("\n")
    assert told == {"http": status, "type": "about:blank", "title": title, "status": status, "detail": text}
