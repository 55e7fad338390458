"""Who may ask what: by address, by token, by grant; and by nobody while a file is at fault."""

from __future__ import annotations

import logging

import pytest

from tests.unit.desk import RUN, Desk, look, request
from tests.unit.wire import ADDRESS
from twitch.messages import Run

STATUS = ("/puppet/status", "/puppet/runs", f"/puppet/runs/{RUN}")


# ---- by address


async def test_an_address_outside_of_from_is_refused_and_heard_no_further(desk: Desk) -> None:
    desk.allow("from = 10.0.0.0/8")
    async with desk.visit() as client:
        await client.send(request("GET", "/version") * 2)
        reply = await client.answer()
        await client.end()
    assert (reply.status, reply.text) == (403, "Not allowed from this address\n")


@pytest.mark.parametrize("target", ["/puppet/twitch", "/nothing", "/version?x", "/puppet/status"])
async def test_it_hears_nothing_else_whatever_it_asks(desk: Desk, target: str) -> None:
    desk.allow("from = 10.0.0.0/8")
    assert (await desk.get(target)).status == 403
    assert desk.root.asked == []


async def test_an_address_inside_is_heard(desk: Desk) -> None:
    desk.allow(f"from = {ADDRESS}")
    assert (await desk.get("/version")).status == 200


# ---- by grant


LACKING = {
    "trigger": ("/puppet/twitch", "status", "trigger"),
    "noop": ("/puppet/twitch?noop=true", "trigger", "noop"),
    "trigger-without-noop": ("/puppet/twitch", "noop", "trigger"),
    "tags": ("/puppet/twitch?tags=a", "trigger", "tags"),
    "environment": ("/puppet/twitch?environment=b", "trigger environment=a", "environment=b"),
    "status": ("/puppet/status", "trigger", "status"),
    "status-for-runs": ("/puppet/runs", "trigger", "status"),
    "status-for-a-run": (f"/puppet/runs/{RUN}", "trigger logs", "status"),
}
lacking = pytest.mark.parametrize(("target", "grants", "grant"), LACKING.values(), ids=LACKING)


@lacking
async def test_a_grant_that_anonymous_lacks_is_named(
    desk: Desk, target: str, grants: str, grant: str
) -> None:
    desk.allow(f"anonymous = {grants}")
    desk.finish("changed")
    reply = await desk.get(target)
    assert (reply.status, desk.root.asked) == (401, [])
    assert reply.text == f"Not allowed without a token or a certificate that has the grant {grant}\n"
    assert reply.headers["www-authenticate"] == 'Bearer realm="puppet-twitch"'


@lacking
async def test_a_grant_that_a_token_lacks_is_named(desk: Desk, target: str, grants: str, grant: str) -> None:
    desk.allow("anonymous =", f"token:ci = {grants}", "plaintext_tokens = yes")
    desk.finish("changed")
    reply = await desk.get(target, desk.token("ci"))
    assert (reply.status, desk.root.asked) == (403, [])
    assert reply.text == f"Not allowed: token:ci has no grant {grant}\n"


async def test_root_hears_who_asks(desk: Desk) -> None:
    desk.allow("token:ci = trigger", "plaintext_tokens = yes")
    assert (await desk.get("/puppet/twitch", desk.token("ci"))).status == 202
    assert desk.root.asked == [Run("token:ci", ADDRESS, named=True)]


FORM = "The credential is not of the form Authorization: Bearer TOKEN"


@pytest.mark.parametrize("shown", ["Bearer wrong", "Basic YTpi", "Bearer", "Bearer a b", "Bearer \xe9", ""])
async def test_who_shows_a_wrong_credential_is_not_anonymous(desk: Desk, shown: str) -> None:
    desk.allow("plaintext_tokens = yes")
    desk.token("ci")
    async with desk.visit() as client:
        sent = request("GET", "/puppet/twitch", f"Authorization: {shown}").decode().encode("latin-1")
        reply = await client.ask(sent)
    said = "The token is wrong or has expired" if shown == "Bearer wrong" else FORM
    assert (reply.status, reply.text) == (401, f"{said}\n")
    assert desk.root.asked == []


async def test_a_token_over_plain_http_is_refused_and_called_lost(desk: Desk) -> None:
    desk.allow("token:ci = trigger")
    reply = await desk.get("/puppet/twitch", desk.token("ci"))
    assert (reply.status, "consider this one lost" in reply.text) == (403, True)
    assert desk.root.asked == []


async def test_what_is_open_to_all_takes_no_wrong_token_either(desk: Desk) -> None:
    desk.allow("plaintext_tokens = yes")
    assert (await desk.get("/version", "Authorization: Bearer wrong")).status == 401


async def test_refusals_are_summed_up_in_the_journal(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.says("busy")
    async with desk.visit() as client:
        for target in ("/nothing", "/version", "/puppet/twitch", "/puppet/twitch", "/version?x"):
            await client.ask(request("GET", target))
        desk.api.dropped("192.0.2.99", "TLS certificate revoked")
    assert caplog.messages == [
        f"refused {ADDRESS}: 1 x 400, 1 x 404, 2 x 409",
        "refused 192.0.2.99: 1 x TLS certificate revoked",
    ]


# ---- what is written counts at once


async def test_a_grant_that_is_taken_away_is_gone_with_the_next_request(desk: Desk) -> None:
    desk.says("status", status=look())
    async with desk.visit() as client:
        assert (await client.ask(request("GET", "/puppet/status"))).status == 200
        desk.allow("anonymous = trigger")
        assert (await client.ask(request("GET", "/puppet/status"))).status == 401
        desk.conf.unlink()
        assert (await client.ask(request("GET", "/puppet/status"))).status == 200


async def test_an_address_that_is_shut_out_is_out_with_the_next_request(desk: Desk) -> None:
    async with desk.visit() as client:
        assert (await client.ask(request("GET", "/version"))).status == 200
        desk.allow("from = 10.0.0.0/8")
        assert (await client.ask(request("GET", "/version"))).status == 403
        await client.end()


async def test_a_token_that_is_removed_is_wrong_with_the_next_request(desk: Desk) -> None:
    desk.allow("plaintext_tokens = yes")
    shown = desk.token("ci")
    assert (await desk.get("/version", shown)).status == 200
    desk.tokens.unlink()
    assert (await desk.get("/version", shown)).status == 401


# ---- a fault


async def test_while_the_configuration_is_at_fault_everybody_is_refused(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.conf.write_text("[acces]\n")
    for target in ("/version", "/puppet/twitch", *STATUS, "/nothing"):
        reply = await desk.get(target)
        assert (reply.status, reply.headers["connection"]) == (503, "close")
        text = "The configuration of puppet-twitch on this node is at fault; its journal says where\n"
        assert reply.text == text  # and not which line: that is nobody's business out there
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert said == [f"{desk.conf}: [acces]: unknown section; allowed: [access] [puppet] [tls]"]
    assert desk.root.asked == []
    desk.conf.write_text("")
    assert (await desk.get("/version")).status == 200


async def test_while_the_tokens_are_at_fault_everybody_is_refused(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.tokens.write_text("ci my-secret\n")
    for _ in range(3):
        assert (await desk.get("/puppet/twitch")).status == 503
    [said] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert said.startswith(f"{desk.tokens}: line 1:")
    assert "my-secret" not in said
    assert desk.root.asked == []
