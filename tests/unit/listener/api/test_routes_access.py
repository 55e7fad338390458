"""Access to the API by address, credential and grant; and by nobody while a file is invalid."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from typing import Any, Callable

import pytest

from tests.unit.api_under_test import RUN, ApiUnderTest, node_status, request
from tests.unit.wire import ADDRESS, visit
from twitch import config
from twitch.errors import MISCONFIGURED
from twitch.listener import refusal_log
from twitch.listener.exchange import HTTPError, Request
from twitch.listener.pause import Pause
from twitch.messages import Run

STATUS = ("/puppet/status", "/puppet/runs", f"/puppet/runs/{RUN}")


# ---- addresses


async def test_address_outside_from_is_refused_and_the_connection_closed(api: ApiUnderTest) -> None:
    api.allow("from = 10.0.0.0/8")
    async with api.client() as client:
        await client.send(request("GET", "/version") * 2)
        reply = await client.answer()
        await client.end()
    assert (reply.status, reply.text) == (403, "Not allowed from this address\n")


@pytest.mark.parametrize("target", ["/puppet/twitch", "/nothing", "/version?x", "/puppet/status"])
async def test_address_outside_from_gets_403_for_every_path(api: ApiUnderTest, target: str) -> None:
    api.allow("from = 10.0.0.0/8")
    assert (await api.get(target)).status == 403
    assert api.root.asked == []


async def test_address_inside_from_is_answered(api: ApiUnderTest) -> None:
    api.allow(f"from = {ADDRESS}")
    assert (await api.get("/version")).status == 200


# ---- grants


LACKING = {
    "trigger": ("/puppet/twitch", "status", "trigger"),
    "noop": ("/puppet/twitch?noop=true", "trigger", "noop"),
    "trigger-without-noop": ("/puppet/twitch", "noop", "trigger"),
    "tags": ("/puppet/twitch?tags=a", "trigger", "tags"),
    "environment": ("/puppet/twitch?environment=b", "trigger environment=a", "environment=b"),
    "status": ("/puppet/status", "trigger", "status"),
    "status-for-runs": ("/puppet/runs", "trigger", "status"),
    "status-for-a-run": (f"/puppet/runs/{RUN}", "trigger logs", "status"),
    "metrics": ("/metrics", "trigger status logs", "metrics"),
    "disable": ("/puppet/disable?reason=x", "trigger status", "disable"),
    "disable-for-enable": ("/puppet/enable", "trigger status", "disable"),
}
POSTED = ("/puppet/disable", "/puppet/enable")
lacking = pytest.mark.parametrize(("target", "grants", "grant"), LACKING.values(), ids=LACKING)


@lacking
async def test_grant_that_anonymous_lacks_is_named(
    api: ApiUnderTest, target: str, grants: str, grant: str
) -> None:
    api.allow(f"anonymous = {grants}")
    api.finish("changed")
    reply = await api.ask("POST" if target.startswith(POSTED) else "GET", target)
    assert (reply.status, api.root.asked) == (401, [])
    assert reply.text == f"Not allowed without a token or a certificate that has the grant {grant}\n"
    assert reply.headers["www-authenticate"] == 'Bearer realm="puppet-twitch"'


@lacking
async def test_grant_that_a_token_lacks_is_named(
    api: ApiUnderTest, target: str, grants: str, grant: str
) -> None:
    api.allow("anonymous =", f"token:ci = {grants}", "plaintext_tokens = yes")
    api.finish("changed")
    reply = await api.ask("POST" if target.startswith(POSTED) else "GET", target, api.token("ci"))
    assert (reply.status, api.root.asked) == (403, [])
    assert reply.text == f"Not allowed: token:ci has no grant {grant}\n"


def test_every_grant_is_demanded_somewhere() -> None:
    # A new grant needs a case in LACKING. `logs` is demanded by views.py, and `cancel` by a path that takes
    # POST alone; the tests of both have their cases.
    demanded = {grant.partition("=")[0] for _, _, grant in LACKING.values()}
    assert demanded | {"logs", "cancel"} == set(config.GRANTS)


async def test_root_gets_name_and_address_of_the_caller(api: ApiUnderTest) -> None:
    api.allow("token:ci = trigger", "plaintext_tokens = yes")
    assert (await api.get("/puppet/twitch", api.token("ci"))).status == 202
    assert api.root.asked == [Run("token:ci", ADDRESS, named=True)]


# ---- credentials


FORM = "The credential is not of the form Authorization: Bearer TOKEN"


@pytest.mark.parametrize(
    "credential", ["Bearer wrong", "Basic YTpi", "Bearer", "Bearer a b", "Bearer \xe9", ""]
)
async def test_caller_with_an_invalid_credential_is_not_anonymous(api: ApiUnderTest, credential: str) -> None:
    api.allow("plaintext_tokens = yes")
    api.token("ci")
    async with api.client() as client:
        sent = request("GET", "/puppet/twitch", f"Authorization: {credential}").decode().encode("latin-1")
        reply = await client.ask(sent)
    text = "The token is wrong or has expired" if credential == "Bearer wrong" else FORM
    assert (reply.status, reply.text) == (401, f"{text}\n")
    assert api.root.asked == []


async def test_token_over_plain_http_is_refused_and_to_be_replaced(api: ApiUnderTest) -> None:
    api.allow("token:ci = trigger")
    reply = await api.get("/puppet/twitch", api.token("ci"))
    assert reply.status == 403
    assert reply.text == (
        "This token was sent over plain HTTP and may have been intercepted: replace it. Use https, "
        "or set plaintext_tokens = yes in [access] of puppet-twitch.conf on the node\n"
    )
    assert api.root.asked == []


async def test_invalid_token_is_refused_where_no_grant_is_needed(api: ApiUnderTest) -> None:
    api.allow("plaintext_tokens = yes")
    assert (await api.get("/version", "Authorization: Bearer wrong")).status == 401


@pytest.mark.parametrize("plaintext_tokens", ["yes", "no"])
async def test_debug_log_has_neither_token_nor_digest(
    api: ApiUnderTest, caplog: pytest.LogCaptureFixture, plaintext_tokens: str
) -> None:
    caplog.set_level(logging.DEBUG)
    api.allow("token:ci = trigger logs", f"plaintext_tokens = {plaintext_tokens}")
    api.finish("failed", reason="Exec[a]")
    header = api.token("ci")
    token = header.rpartition(" ")[2]
    wrong = f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}"
    await api.get("/puppet/twitch?async=false", header)
    await api.get("/puppet/twitch?async=false", f"Authorization: Bearer {wrong}")
    lines = "\n".join(record.getMessage() for record in caplog.records)
    if plaintext_tokens == "yes":
        assert "token:ci: lines of [access]: ['anonymous', 'token:ci']; grants: ['logs', 'status'" in lines
        assert f"GET '/puppet/twitch' by token:ci at {ADDRESS}" in lines
    assert f"{api.conf} is read" in lines
    secrets = [token, wrong, *(hashlib.sha256(one.encode()).hexdigest() for one in (token, wrong))]
    for secret in (*secrets, "Bearer"):
        assert secret not in lines


# ---- refusals are counted


async def test_refusals_are_summed_up_in_the_journal(
    api: ApiUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    api.root_answers("busy")
    async with api.client() as client:
        for target in ("/nothing", "/version", "/puppet/twitch", "/puppet/twitch", "/version?x"):
            await client.ask(request("GET", target))
        api.service.dropped("192.0.2.99", "TLS certificate revoked")
    assert caplog.messages == [
        f"refused {ADDRESS}: 1 x 400 invalid request, 1 x 404 unknown path or run, "
        "2 x 409 Puppet busy or queue full",
        "refused 192.0.2.99: 1 x TLS certificate revoked",
    ]


async def test_refused_caller_is_named_in_the_journal_and_the_reason_is_in_words(
    api: ApiUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    api.allow("anonymous =", "token:deploy = trigger", "plaintext_tokens = yes")
    async with visit(api.service) as client:
        for asked in (
            request("GET", "/puppet/twitch?environment=secret", api.token("deploy")),
            request("GET", "/puppet/twitch"),
            request("GET", "/nothing"),
        ):
            await client.ask(asked)
    certified = Request("GET", "/puppet/twitch", {}, b"", "192.0.2.99", secure=True, certname="web07")
    for target in ("/puppet/twitch", "/nothing"):
        one = certified._replace(target=target)
        with pytest.raises(HTTPError) as refused:
            await api.service.respond(one, Pause(lambda: True))
        api.service.explain("192.0.2.99", one, refused.value)
    api.allow("from = 10.0.0.0/8")
    await api.get("/version")
    assert caplog.messages == [
        "refused cert:web07 at 192.0.2.99: 1 x 403 no grant trigger, 1 x 404 unknown path or run",
        f"refused token:deploy at {ADDRESS}: 1 x 403 no grant environment",
        f"refused {ADDRESS}: 1 x 401 anonymous without trigger, "
        "1 x 403 address outside [access] from, 1 x 404 unknown path or run",
    ]


COUNTED: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "busy": ("busy", {}, "/puppet/twitch", 409),
    "full": ("full", {"run": RUN}, "/puppet/twitch?queue", 409),
    "disabled": ("disabled", {"reason": "x"}, "/puppet/twitch", 423),
    "cooldown": ("cooldown", {"retry_after_s": 9}, "/puppet/twitch", 429),
    "cannot": ("cannot", {"reason": "x"}, "/puppet/twitch", 500),
    "invalid": ("invalid", {"reason": "x"}, "/puppet/twitch", 500),
    "cannot-status": ("cannot", {"reason": "x"}, "/puppet/status", 500),
}


@pytest.mark.parametrize(("kind", "fields", "target", "status"), COUNTED.values(), ids=COUNTED)
async def test_refusal_by_root_is_counted(
    api: ApiUnderTest,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    fields: dict[str, Any],
    target: str,
    status: int,
) -> None:
    # Root logs what it refuses itself, but the second one comes from the listener's memory.
    api.root_answers(kind, **fields)
    async with api.client() as client:
        for _ in range(2):
            assert (await client.ask(request("GET", target))).status == status
    assert caplog.messages == [f"refused {ADDRESS}: 2 x {status} {refusal_log.MEANINGS[status]}"]


@pytest.mark.parametrize("target", ["/puppet/twitch?async=false", "/puppet/status?max_age=1h"])
async def test_failed_run_is_no_refusal(
    api: ApiUnderTest, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    api.finish("failed", reason="Exec[a]")
    if "status" in target:
        api.root_answers("status", status=node_status("stuck", pid=1, age_s=1))
    assert (await api.get(target)).status in (500, 503)
    assert caplog.messages == []


# ---- changes take effect at once


async def test_removed_grant_is_gone_with_the_next_request(api: ApiUnderTest) -> None:
    api.root_answers("status", status=node_status())
    async with api.client() as client:
        assert (await client.ask(request("GET", "/puppet/status"))).status == 200
        api.allow("anonymous = trigger")
        assert (await client.ask(request("GET", "/puppet/status"))).status == 401
        api.allow("")
        assert (await client.ask(request("GET", "/puppet/status"))).status == 200


async def test_removed_address_is_refused_with_the_next_request(api: ApiUnderTest) -> None:
    async with api.client() as client:
        assert (await client.ask(request("GET", "/version"))).status == 200
        api.allow("from = 10.0.0.0/8")
        assert (await client.ask(request("GET", "/version"))).status == 403
        await client.end()


async def test_removed_token_is_wrong_with_the_next_request(api: ApiUnderTest) -> None:
    api.allow("plaintext_tokens = yes")
    header = api.token("ci")
    assert (await api.get("/version", header)).status == 200
    api.tokens.unlink()
    assert (await api.get("/version", header)).status == 401


# ---- an invalid file


async def test_invalid_configuration_refuses_every_request(
    api: ApiUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    api.conf.write_text("[acces]\n")
    for target in ("/version", "/puppet/twitch", *STATUS, "/nothing"):
        reply = await api.get(target)
        assert (reply.status, reply.headers["connection"]) == (503, "close")
        # Without the line of the fault, which is for the operator.
        assert reply.text == "puppet-twitch is misconfigured on this node; see its journal\n"
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [f"{api.conf}: [acces]: unknown section; allowed: {config.SECTIONS}"]
    assert api.root.asked == []
    api.conf.write_text("#")
    assert (await api.get("/version")).status == 200


def dangle(api: ApiUnderTest) -> None:
    api.conf.unlink()
    api.conf.symlink_to("none")


LOST: dict[str, Callable[[ApiUnderTest], object]] = {
    "missing": lambda api: api.conf.unlink(),
    "dangling": dangle,
    "empty": lambda api: api.conf.write_text(""),
    "whitespace": lambda api: api.conf.write_text("\n"),
}


@pytest.mark.parametrize("closed_before", [True, False], ids=["running", "next-listener"])
@pytest.mark.parametrize("lose", LOST.values(), ids=LOST)
async def test_lost_configuration_refuses_every_request(
    api: ApiUnderTest, closed_before: bool, lose: Callable[[ApiUnderTest], object]
) -> None:
    api.allow("anonymous =")
    if closed_before:
        assert (await api.get("/puppet/twitch")).status == 401
    lose(api)
    for target in ("/version", "/puppet/twitch", *STATUS):
        assert (await api.get(target)).status == 503
    assert api.root.asked == []
    with contextlib.suppress(FileNotFoundError):
        api.conf.unlink()
    api.conf.write_text("# The defaults apply.\n")
    assert (await api.get("/puppet/twitch")).status == 202


@pytest.mark.parametrize("target", ["/puppet/twitch", "/puppet/status"])
async def test_configuration_that_only_root_finds_invalid_is_answered_503(
    api: ApiUnderTest, target: str
) -> None:
    # An editor that writes in place leaves the file empty for a moment.
    api.root_answers("misconfigured", reason="/etc/x: is empty")
    reply = await api.get(target)
    assert (reply.status, reply.text) == (503, f"{MISCONFIGURED}\n")


async def test_invalid_tokens_file_refuses_every_request(
    api: ApiUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    api.tokens.write_text("ci my-secret\n")
    for _ in range(3):
        assert (await api.get("/puppet/twitch")).status == 503
    [error] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert error.startswith(f"{api.tokens}: line 1:")
    assert "my-secret" not in error
    assert api.root.asked == []
