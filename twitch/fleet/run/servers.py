"""The PuppetDB of a command, if there is one."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import AsyncIterator
from typing import Optional

from twitch.fleet.puppetdb import settings
from twitch.fleet.puppetdb.client import PuppetDB


@contextlib.asynccontextmanager
async def open_puppetdb(options: Namespace) -> AsyncIterator[Optional[PuppetDB]]:
    """Open the PuppetDB that the options or the files of this machine name; None if they name none."""
    found = settings.of_options(options)
    if found is None:
        yield None
        return
    async with PuppetDB(found) as database:
        yield database
