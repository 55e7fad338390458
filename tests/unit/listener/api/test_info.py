"""`/version` and `/info`."""

from __future__ import annotations

import twitch
from tests.unit.api_under_test import ApiUnderTest


async def test_version(api: ApiUnderTest) -> None:
    reply = await api.get("/version")
    assert (reply.status, reply.text) == (200, f"{twitch.__version__}\n")
    assert await api.json("/version") == {"http": 200, "message": twitch.__version__}


async def test_info(api: ApiUnderTest) -> None:
    reply = await api.get("/info")
    assert (reply.status, reply.text) == (200, "Puppet Twitch - A simple endpoint for triggering puppet\n")
