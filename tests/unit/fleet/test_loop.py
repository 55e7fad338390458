"""The event loop of a command: nothing that is left behind shows a traceback; buffers are small."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from tests.unit.fleet.commands import LIMIT_S, REPOSITORY
from twitch.fleet import loop

LEFT_BEHIND = """
import asyncio, sys
from twitch.fleet import loop
async def fail(error):
    raise error
async def command():
    for error in (ConnectionResetError("gone"), KeyError("bug")):
        task = asyncio.ensure_future(fail(error))
        await asyncio.wait([task])
        del task
    return 7
sys.exit(loop.run(command()))
"""


def test_error_that_nobody_waits_for_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_BEHIND], cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 7
    assert done.stderr == (
        "puppet-twitch-fleet: an error in this program, please report it: KeyError: 'bug'\n"
    )


def test_tls_buffer_has_the_size_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    from asyncio import sslproto

    if hasattr(sslproto.SSLProtocol, "max_size"):
        monkeypatch.setattr(sslproto.SSLProtocol, "max_size", 256 * 1024)
        loop._small_tls_buffers()
        assert sslproto.SSLProtocol.max_size == loop.TLS_RECORD_BYTES


def test_tasks_that_are_left_are_cancelled() -> None:
    cancelled: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("waiting")
            raise

    async def command() -> str:
        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        assert not task.done()
        return "done"

    assert loop.run(command()) == "done"
    assert cancelled == ["waiting"]
