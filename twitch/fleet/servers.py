"""The PuppetDB and the puppetservers of a command, if there are any."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import AsyncIterator
from typing import Optional

from twitch.fleet.puppetdb import settings as of_puppetdb
from twitch.fleet.puppetdb.client import PuppetDB
from twitch.fleet.puppetserver import settings as of_puppetservers
from twitch.fleet.puppetserver.queue import Queues


@contextlib.asynccontextmanager
async def open_puppetdb(options: Namespace) -> AsyncIterator[Optional[PuppetDB]]:
    """Open the PuppetDB that the options or the files of this machine name; None if they name none."""
    found = of_puppetdb.of_options(options)
    if found is None:
        yield None
        return
    async with PuppetDB(found) as database:
        yield database


@contextlib.asynccontextmanager
async def open_puppetservers(options: Namespace) -> AsyncIterator[Optional[Queues]]:
    """Open the puppetservers that the options or puppet.conf name; None if they name none."""
    found = of_puppetservers.of_options(options)
    if not found.urls:
        yield None
        return
    async with Queues(found) as queues:
        yield queues
