"""Refusals in the journal: summed up, the address with the most first, and never more than a few lines."""

from __future__ import annotations

import asyncio

import pytest

from twitch.listener import refusal_log
from twitch.listener.exchange import HTTPError
from twitch.listener.refusal_log import Refusals


async def test_refusals_of_one_address_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    counts = Refusals()
    for kind in ("403", "404", "403", "TLS certificate revoked", "403"):
        counts.add("192.0.2.7", kind)
    assert caplog.messages == []
    counts.flush()
    assert caplog.messages == ["refused 192.0.2.7: 3 x 403, 1 x 404, 1 x TLS certificate revoked"]


async def test_most_refused_addresses_come_first_and_the_rest_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counts = Refusals()
    for number in range(30):
        for _ in range(number + 1):
            counts.add(f"192.0.2.{number}", "403")
    counts.flush()
    lines = caplog.messages
    assert lines[:2] == ["refused 192.0.2.29: 30 x 403", "refused 192.0.2.28: 29 x 403"]
    assert lines[-1] == f"refused 20 more addresses: {sum(range(21))} x 403"
    assert len(lines) == refusal_log.MAX_LINES + 1


async def test_thousands_of_addresses_are_counted_in_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    counts, many = Refusals(), 3 * refusal_log.MAX_ADDRESSES
    for number in range(many):
        counts.add(f"2001:db8:0:{number:x}::1", "503")
        assert len(counts._addresses) <= refusal_log.MAX_ADDRESSES
    counts.flush()
    assert caplog.messages[0].startswith("refused other addresses: ")
    assert sum(int(line.rpartition(": ")[2].split()[0]) for line in caplog.messages) == many


async def test_refusals_of_ipv6_are_counted_by_64(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counts = Refusals()
    counts.add("192.0.2.7", "403")
    for number in range(3 * refusal_log.MAX_ADDRESSES):
        counts.add(f"2001:db8::{number:x}", "503")
    counts.add("192.0.2.8", "403")
    counts.flush()
    assert caplog.messages == [
        f"refused 2001:db8::/64 (2001:db8::0 and others): {3 * refusal_log.MAX_ADDRESSES} x 503",
        "refused 192.0.2.7: 1 x 403",
        "refused 192.0.2.8: 1 x 403",
    ]


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
async def test_many_addresses_do_not_hide_one_with_many_refusals(
    caplog: pytest.LogCaptureFixture, late: bool
) -> None:
    counts = Refusals()
    many = [f"10.0.{number // 256}.{number % 256}" for number in range(3 * refusal_log.MAX_ADDRESSES)]
    one = ["192.0.2.7"] * 20
    for address in many + one if late else one + many:
        counts.add(address, "401")
    counts.flush()
    assert "refused 192.0.2.7: 20 x 401" in caplog.messages[:2]


async def test_refusals_are_logged_after_an_interval(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusal_log, "INTERVAL_S", 0.01)
    counts = Refusals()
    for _ in range(2):
        caplog.clear()
        counts.add("192.0.2.7", "403")
        while not caplog.messages:
            await asyncio.sleep(0.001)
        assert caplog.messages == ["refused 192.0.2.7: 1 x 403"]


async def test_callers_with_a_name_are_counted_by_it_wherever_they_come_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counts = Refusals()
    for number in range(399):  # it knocks at as many addresses as it has
        counts.add(f"2001:db8:0:{number:x}::7", "403 no grant trigger", "cert:web07")
    counts.add("192.0.2.7", "429 cooldown", "token:deploy")
    counts.add("2001:db8::9", "404 unknown path or run")
    counts.flush()
    assert caplog.messages == [
        "refused cert:web07 at 2001:db8:0:0::7 and others: 399 x 403 no grant trigger",
        "refused token:deploy at 192.0.2.7: 1 x 429 cooldown",
        "refused 2001:db8::/64 (2001:db8::9): 1 x 404 unknown path or run",
    ]


async def test_crowd_of_addresses_does_not_hide_a_caller_with_a_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counts = Refusals()
    counts.add("192.0.2.7", "403 no grant trigger", "cert:web07")
    for number in range(3 * refusal_log.MAX_ADDRESSES):
        for _ in range(2):
            counts.add(f"10.0.{number // 256}.{number % 256}", "404 unknown path or run")
    counts.flush()
    assert caplog.messages[0] == "refused cert:web07 at 192.0.2.7: 1 x 403 no grant trigger"
    assert len(caplog.messages) <= 1 + refusal_log.MAX_LINES + 1


async def test_thousands_of_names_are_counted_in_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    counts, many = Refusals(), 3 * refusal_log.MAX_CALLERS
    for number in range(many):
        counts.add(f"192.0.2.{number % 256}", "403 no grant trigger", f"cert:node{number}")
        tally = counts._callers
        assert max(len(tally), len(tally._examples), len(tally._several)) <= refusal_log.MAX_CALLERS
    counts.flush()
    assert caplog.messages[0].startswith("refused other callers: ")
    assert sum(int(line.rpartition(": ")[2].split()[0]) for line in caplog.messages) == many


def test_every_kind_has_words() -> None:
    # An operator reads them; the statuses are those that README has.
    for status in (400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 415, 423, 429, 431, 500, 503, 505):
        assert refusal_log.words(status) != str(status)
    assert refusal_log.kind(HTTPError(503, "a text with a secret", reason="no room")) == "503 no room"


async def test_no_refusals_are_no_line(caplog: pytest.LogCaptureFixture) -> None:
    counts = Refusals()
    counts.flush()
    counts.add("192.0.2.7", "403")
    counts.flush()
    counts.flush()
    assert len(caplog.messages) == 1


# ---- requests that joined a run in the queue

RUN = "1" * 32


async def test_joined_requests_are_one_line_for_each_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    counts = Refusals()
    for number in range(30):
        counts.joined(f"127.0.0.{number % 3}", RUN)
    counts.joined("2001:db8::1", "2" * 32)
    counts.joined("2001:db8::2", "2" * 32)
    counts.flush()
    counts.flush()
    assert caplog.messages == [
        f"30 more anonymous requests joined run {RUN}, from 4 addresses",
        f"2 more anonymous requests joined run {'2' * 32}, from 4 addresses",
    ]


async def test_joined_requests_from_one_address_name_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    counts = Refusals()
    for _ in range(2):
        counts.joined("192.0.2.7", RUN)
        counts.flush()
    assert caplog.messages == [f"1 more anonymous request joined run {RUN}, from 192.0.2.7"] * 2


async def test_joined_requests_are_counted_in_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    counts = Refusals()
    for number in range(3 * refusal_log.MAX_ADDRESSES):
        counts.joined(f"2001:db8:0:{number:x}::1", RUN)
    counts.flush()
    count = 3 * refusal_log.MAX_ADDRESSES
    assert caplog.messages == [
        f"{count} more anonymous requests joined run {RUN}, from "
        f"{refusal_log.MAX_ADDRESSES} or more addresses"
    ]


async def test_joined_requests_are_logged_after_an_interval(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(refusal_log, "INTERVAL_S", 0.01)
    Refusals().joined("192.0.2.7", RUN)
    while not caplog.messages:
        await asyncio.sleep(0.001)
