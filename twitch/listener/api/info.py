"""`/version` and `/info`: which program answers on this port."""

from __future__ import annotations

import twitch
from twitch.listener.api.call import Call
from twitch.listener.api.reply import Reply

INFO = "Puppet Twitch - A simple endpoint for triggering puppet"


async def version(call: Call) -> Reply:
    """Answer `GET /version`."""
    return Reply(200, twitch.__version__)


async def info(call: Call) -> Reply:
    """Answer `GET /info`."""
    return Reply(200, INFO)
