"""Many followers of one log reader: slow ones, and those that make room for others.

The log reader is the real one, with a journal in memory.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.unit.api_under_test import RUN, ApiUnderTest, request
from tests.unit.fake_journal import PID, ended, entry
from tests.unit.log_readers import LOG, Journald, Stream
from tests.unit.wire import visit
from twitch.listener import kept_lines, log_sharing, log_source
from twitch.listener.api import log_follower
from twitch.log import reader
from twitch.log_packets import Read


async def test_followers_share_one_reader(api: ApiUnderTest, journald: Journald) -> None:
    api.record(pid=PID)
    async with contextlib.AsyncExitStack() as stack:
        streams = []
        for after in (0, 0, 2, 4, 3):
            streams.append(Stream(await stack.enter_async_context(visit(api.service))))
            await streams[-1].begin(f"{LOG}?follow=true&after={after}")
        await streams[0].until("three")
        journald.append(entry("four"))
        for stream in streams:
            await stream.until("four")
        assert journald.readers == 1
        streams[1].client.reset()
        api.finish("changed")
        journald.append(ended())
        for stream in (streams[0], *streams[2:]):
            await stream.until("# changed")
    assert journald.readers == 1


async def test_slow_follower_delays_no_other_one(
    api: ApiUnderTest, journald: Journald, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PACKET_BYTES", 1024)
    monkeypatch.setattr(kept_lines, "KEPT_BYTES", 8192)
    monkeypatch.setattr(log_follower, "PART_BYTES", 1024)
    api.record(pid=PID)
    async with visit(api.service, small_buffers=True) as slow, visit(api.service) as quick:
        stalled, stream = Stream(slow), Stream(quick)
        await slow.send(request("GET", f"{LOG}?follow=true"))
        await stream.begin(f"{LOG}?follow=true")
        await stream.until("three")
        for number in range(400):
            journald.append(entry(f"line {number} " + "x" * 100))
        await stream.until("line 399 ")
        assert journald.readers == 1
        await stalled.until("line 0 ")
        await stalled.until("line 399 ")  # from the journal again, not from memory
        journald.append(entry("the last one"))
        await stalled.until("the last one")
        await stream.until("the last one")
        while len(journald.views) > 1:  # both follow the common reader again
            await asyncio.sleep(0)
        assert journald.readers >= 2


async def test_client_that_reads_many_logs_makes_room_for_another(
    api: ApiUnderTest, journald: Journald, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sharing, "MAX_SOURCES", 4)
    api.record(pid=PID)
    found, logs = api.store.read(RUN), api.service._sources()
    assert found is not None
    question = Read(RUN, tail=1, follow=True, pid=PID)  # each has a reader of its own
    crowd = [logs.join(found, question, "192.0.2.7") for _ in range(4)]
    for source in crowd:
        await source.opened()
    with pytest.raises(log_source.Unreadable):
        logs.join(found, question, "192.0.2.7")
    others = [logs.join(found, question, f"2001:db8::{number}") for number in range(2)]  # one /64
    assert [source.broken for source in crowd] == [True, True, False, False]
    for client in ("192.0.2.7", "2001:db8::3"):
        with pytest.raises(log_source.Unreadable):
            logs.join(found, question, client)
    for source in (*crowd, *others):
        await source.opened()
        source.leave()
    assert not logs._all


async def test_follower_that_makes_room_is_told_where_the_log_goes_on(
    api: ApiUnderTest, journald: Journald, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sharing, "MAX_SOURCES", 2)
    api.record(pid=PID)
    found, logs = api.store.read(RUN), api.service._sources()
    assert found is not None
    async with visit(api.service) as client:
        stream = Stream(client)
        await stream.begin(f"{LOG}?follow=true")
        await stream.until("three")
        question = Read(RUN, tail=1, follow=True, pid=PID)
        second = logs.join(found, question, next(iter(logs._all)).client)
        await second.opened()
        other = logs.join(found, question, "192.0.2.200")
        await other.opened()
        assert (await stream.rest()).endswith(b"# goes on: ?follow=true&after=4\n\r\n")
    for source in (second, other):
        source.leave()
