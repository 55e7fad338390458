"""PuppetDB over HTTP: one query, and its answer as rows.

Every query goes to /pdb/query/v4, by POST: as PQL text of the operator's, or as an AST of ours, which needs
no quoting and no parser (500 ids: 0.21 s as AST, 0.41 s as PQL, PuppetDB 8.4.1).
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Optional, Union

import aiohttp

from twitch.errors import TwitchError
from twitch.fleet import server_failures
from twitch.fleet.puppetdb.settings import Settings
from twitch.fleet.server_client import ServerClient
from twitch.texts import one_line

Query = Union[str, list[Any]]
Row = dict[str, Any]

ORIGIN = "puppet-twitch"  # which PuppetDB logs beside the query
CONNECTIONS = 4
QUERY_S = 120  # for one query and its answer; of ours, the slowest takes 1 s for 300,000 resources
CONNECT_S = 10  # for a connection; then the next of server_urls is tried
STATUS_S = 10
TEXT_CHARACTERS = 300  # of an answer that is an error; a page of a proxy can be long

# What follows the last row of an answer that is not finished.
CUT = re.compile(r"PDBQuery:[0-9a-f-]+: ([^\n]{1,200})\Z")

# Up to 7.12, PuppetDB takes a time quadratic in the length of an array (PDB-3171). 10,000 ids took 0.26 s in
# 8.4.1, and are 360 kB.
QUICK_ARRAYS = (7, 13)
ARRAY, LONG_ARRAY = 500, 10_000


class PuppetDBError(TwitchError):
    """PuppetDB cannot be asked, or its answer is not one."""


class PuppetDB(ServerClient):
    """A PuppetDB, which is asked over a few connections. `url` is the one that has answered last."""

    def __init__(self, settings: Settings, *, query_s: float = QUERY_S, connect_s: float = CONNECT_S) -> None:
        super().__init__(settings.urls, settings.files, connections=CONNECTIONS)
        self.url = settings.urls[0]
        self._urls = settings.urls
        self._certificate = settings.files.cert
        self._query_s, self._connect_s = query_s, connect_s
        self._version: Optional[tuple[int, ...]] = None

    async def query(self, query: Query) -> list[Row]:
        """Return the rows that a query finds. Raise PuppetDBError if PuppetDB does not answer it."""
        text = await self._ask("POST", "/pdb/query/v4", {"query": query, "origin": ORIGIN})
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError):
            raise PuppetDBError(self._cut(text)) from None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise PuppetDBError(f"The answer of {self.url} is not a list of rows, so this is not PuppetDB")
        return rows

    def _cut(self, text: str) -> str:
        """Return why an answer 200 is not JSON.

        PuppetDB sends rows as it finds them. After its time limit, it can only stop, and 8.4.1 writes why
        after the last row: `PDBQuery:ID: from "puppet-twitch" exceeded timeout`.
        """
        reason = CUT.search(text)
        if reason:
            return f"PuppetDB ({self.url}) has not finished its answer: {one_line(reason[1])}; ask for less"
        return (
            f"The answer of PuppetDB ({self.url}) ends in the middle: the query took longer than its time "
            "limit, or its database failed; see the log of PuppetDB"
        )

    async def array_limit(self) -> int:
        """Return how many values one array of a query may have."""
        return LONG_ARRAY if await self.version() >= QUICK_ARRAYS else ARRAY

    async def version(self) -> tuple[int, ...]:
        """Return the version of PuppetDB, such as (7, 12, 1), which is asked for once."""
        if self._version is None:
            text = await self._ask("GET", "/pdb/meta/v1/version", None)
            try:
                self._version = tuple(
                    int(part)
                    for part in json.loads(text)["version"].split("-")[0].split(".")
                    if part.isdigit()
                )
            except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
                raise PuppetDBError(f"{self.url} does not say its version, so this is not PuppetDB") from None
        return self._version

    async def queue_depth(self) -> Optional[int]:
        """Return how many commands PuppetDB has yet to store; None if it does not say."""
        try:
            text = await self._ask("GET", "/status/v1/services/puppetdb-status", None, STATUS_S)
            depth = json.loads(text)["status"]["queue_depth"]
        except (PuppetDBError, ValueError, RecursionError, KeyError, TypeError):
            return None
        return depth if isinstance(depth, int) else None

    async def _ask(self, method: str, path: str, body: Optional[Row], total_s: Optional[float] = None) -> str:
        """Return the text of an answer 200, of the first URL that answers at all."""
        unreachable = []
        for url in (self.url, *(url for url in self._urls if url != self.url)):
            try:
                status, text = await self._answer(method, url + path, body, total_s or self._query_s)
            except _NoAnswer as error:
                unreachable.append(f"{url}: {error}")
                continue
            if status == 503 and len(self._urls) > 1:
                unreachable.append(f"{url}: {_refusal(status, text)}")
                continue
            self.url = url
            if status != 200:
                raise PuppetDBError(f"PuppetDB ({url}): {_refusal(status, text)}")
            return text
        raise PuppetDBError("PuppetDB cannot be asked: " + "; ".join(unreachable))

    async def _answer(self, method: str, url: str, body: Optional[Row], total_s: float) -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=self._connect_s)
        try:
            async with self._session.request(
                method, url, json=body, timeout=timeout, allow_redirects=False
            ) as answer:
                return answer.status, await answer.text(encoding="utf-8", errors="replace")
        except aiohttp.ClientPayloadError:
            return 200, ""  # the connection ended within the answer
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            why = server_failures.reason(
                error, url, certificate=self._certificate, connect_s=self._connect_s, answer_s=total_s
            )
            raise _NoAnswer(why) from None


class _NoAnswer(Exception):
    """One URL of PuppetDB did not answer."""


def _refusal(status: int, text: str) -> str:
    said = one_line(" ".join(text.split()))[:TEXT_CHARACTERS]
    if status in (401, 403):
        return f"{status}: this certificate is not on the certificate-allowlist of PuppetDB ({said})"
    if status == 404:
        return (
            "404: no PuppetDB at this address; the URL has no path, as in https://puppetdb.example.com:8081"
        )
    return f"{status}: {said}"
