from __future__ import annotations

import asyncio
import os
import signal

import pytest

from tests.unit.loops import run
from twitch.fleet.stopping import REASONS, Stop, signals


def test_the_first_reason_to_stop_is_the_one_that_is_named() -> None:
    async def scene() -> None:
        heard: list[str] = []
        stop = Stop()
        stop.on_stop(heard.append)
        stop.stop("too many failures")
        stop.stop("--until")
        stop.on_stop(heard.append)
        assert (stop.reason, heard) == ("too many failures", ["too many failures"] * 2)
        assert not stop.left.is_set()

    run(scene())


def test_the_first_interrupt_stops_and_the_second_leaves() -> None:
    async def scene() -> None:
        notes: list[str] = []
        stop = Stop()
        stop.on_first_interrupt = lambda: notes.append("first")
        with signals(stop):
            os.kill(os.getpid(), signal.SIGINT)
            while stop.reason is None:
                await asyncio.sleep(0)
            assert (stop.reason, stop.left.is_set(), notes) == (REASONS[signal.SIGINT], False, ["first"])
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.wait_for(stop.left.wait(), 60)
        assert notes == ["first"]

    before = signal.getsignal(signal.SIGINT)
    run(scene())
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_after_another_stop_does_not_leave_at_once() -> None:
    async def scene() -> None:
        stop = Stop()
        stop.stop("too many failures")
        stop.interrupted()
        assert (stop.reason, stop.left.is_set()) == ("too many failures", False)
        stop.interrupted()
        assert stop.left.is_set()

    run(scene())


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_leave_at_once(by: signal.Signals) -> None:
    async def scene() -> None:
        stop = Stop()
        stop.stop("too many failures")
        with signals(stop):
            os.kill(os.getpid(), by)
            await asyncio.wait_for(stop.left.wait(), 60)
        # The reason is why nothing more was started, and the signal why the command has left.
        assert (stop.reason, stop.left_by) == ("too many failures", by)

    run(scene())


def test_sighup_is_ignored_under_nohup() -> None:
    async def scene() -> None:
        stop = Stop()
        with signals(stop):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(stop.left.wait(), 60)
        assert stop.left_by is signal.SIGTERM

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run(scene())
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_time_that_is_over_stops() -> None:
    async def scene() -> None:
        stop = Stop()
        stop.at(100.0, 200.0, "--until")
        while stop.reason is None:
            await asyncio.sleep(0)
        assert stop.reason == "--until"

    run(scene())
