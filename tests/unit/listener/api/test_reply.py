"""Replies: as text or as JSON, and no text can control the terminal that shows it."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.api_under_test import ApiUnderTest
from twitch.listener.api import reply
from twitch.listener.api.reply import Reply
from twitch.listener.exchange import HTTPError

JSON = "application/json"


def rendered(answer: Reply, accept: str = "") -> bytes:
    """Return the body of a reply."""
    body = reply.render(answer, accept).body
    assert isinstance(body, bytes)
    return body


# ---- text


@given(text=st.text())
def test_text_reply_has_no_control_characters(text: str) -> None:
    body = rendered(Reply(200, text)).decode()
    controls = {letter for letter in body if unicodedata.category(letter) in ("Cc", "Zl", "Zp")}
    assert controls <= {"\n", "\t"}


@pytest.mark.parametrize("text", ["Triggered puppet run", "Puppet already running", "Puppet run complete"])
def test_only_published_texts_have_no_newline(text: str) -> None:
    assert text in reply.PUBLISHED
    assert len(reply.PUBLISHED) == 3
    assert rendered(Reply(200, text)) == text.encode()
    assert rendered(Reply(200, f"{text}.")) == f"{text}.\n".encode()


# ---- JSON


@given(text=st.text(st.characters()))
def test_json_has_the_unchanged_text(text: str) -> None:
    assert json.loads(rendered(Reply(200, text, {"run": text}), JSON)) == {"message": text, "run": text}
    problem = reply.of_error(HTTPError(418, text, close=True))._replace(fields={"run": text})
    fields = json.loads(rendered(problem, JSON))
    assert (fields["detail"], fields["run"]) == (text, text)
    response = reply.render(problem, JSON)
    assert (response.close, response.status) == (True, 418)


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "text/html, application/json;q=0.9",
        "application/problem+json",
        "application/json, */*",
    ],
)
async def test_json_for_clients_that_ask_for_it_by_name(api: ApiUnderTest, accept: str) -> None:
    answer = await api.get("/info", f"Accept: {accept}")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["message"][:6] == "Puppet"


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/*", ""])
async def test_text_for_all_other_clients(api: ApiUnderTest, accept: str) -> None:
    answer = await api.get("/info", f"Accept: {accept}")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("target", "status", "title"),
    [
        ("/nothing", 404, "Not Found"),
        ("/version?x", 400, "Bad Request"),
        ("/puppet/twitch?noop", 401, "Unauthorized"),
    ],
)
async def test_errors_in_json_are_problem_details(
    api: ApiUnderTest, target: str, status: int, title: str
) -> None:
    problem = await api.json(target)  # with the media type of RFC 9457
    text = (await api.get(target)).text.removesuffix("\n")
    assert problem == {
        "http": status,
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": text,
    }
