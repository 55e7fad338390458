"""What every request passes: is its sender heard, what is its path, who is calling; then its endpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Callable, NamedTuple, Optional
from urllib.parse import unquote

from twitch.config import Config
from twitch.errors import MISCONFIGURED, ConfigError, HTTPError
from twitch.listener import access
from twitch.listener.access import Caller
from twitch.listener.api import endpoints, parameters, wording
from twitch.listener.api.endpoints import Call
from twitch.listener.connection import Pause
from twitch.listener.exchange import Request, Response
from twitch.listener.refusals import Refusals
from twitch.listener.root_client import Handler
from twitch.listener.tokens import Token
from twitch.listener.watched import Content, Watched
from twitch.runs import Store

log = logging.getLogger(__name__)

# Callers who wait for a run hold a connection each. Of the listener's 256 these many are theirs, the
# rest is kept for triggers; who comes later hears 202 and where to look, as without `wait`.
MAX_WAITING = 192
# Where each connection has a process of its own, and systemd 64 places for all of them. They return
# within minutes, whatever the callers want.
MAX_WAIT_ALONE_S = 60


class Route(NamedTuple):
    """An endpoint: methods, parameters, and what answers."""

    methods: tuple[str, ...]
    parameters: tuple[str, ...]
    answer: Callable[[Call], Awaitable[Response]]


class API:
    """What a connection asks (`connection.Service`)."""

    def __init__(
        self,
        config: Watched[Config],
        tokens: Watched[tuple[Token, ...]],
        handler: Handler,
        store: Store,
        refusals: Refusals,
        *,
        longest_wait_s: float = parameters.MAX_WAIT_S,
    ) -> None:
        self._config = config
        self._tokens = tokens
        self._handler = handler
        self._runs = store
        self._refusals = refusals
        self._settings: Optional[Config] = None  # as of the last look
        self._waiting = 0
        self._longest_wait_s = longest_wait_s

    # ---- every request

    def admit(self, address: str) -> None:
        """Refuse addresses outside `[access] from`, and everybody while the configuration is at fault."""
        if not access.welcome(self._configuration(), address):
            raise HTTPError(403, "Not allowed from this address", close=True)

    async def respond(self, request: Request, pause: Pause) -> Response:
        """Answer a complete request; raises `HTTPError` for one that is refused."""
        path, query = _split(request.target)
        route = ROUTES.get(path) or (RUN_ROUTE if path.startswith("/puppet/runs/") else None)
        if route is None:
            raise HTTPError(404, "Not found; try /puppet/twitch, /puppet/status, /puppet/runs or /info")
        if request.method not in route.methods:
            allow = ("Allow", ", ".join(route.methods))
            raise HTTPError(405, f"{path} takes {' or '.join(route.methods)}", headers=(allow,))
        given = parameters.read(request, query, route.parameters)
        caller = self._identify(request)
        clock = asyncio.get_running_loop().time
        until = clock() + self._longest_wait_s

        async def bounded(seconds: float) -> bool:
            if self._waiting >= MAX_WAITING or clock() >= until:
                return True
            self._waiting += 1
            try:
                return await pause(seconds)
            finally:
                self._waiting -= 1

        response = await route.answer(Call(request, path, given, caller, bounded, self._handler, self._runs))
        if response.status == 409:
            # For a second these come from memory, and then root has not written them down.
            self._refusals.add(request.address, "409")
        return response

    def dropped(self, address: str, why: str) -> None:
        """Note a connection that never became one."""
        self._refusals.add(address, why)

    def explain(self, address: str, request: Optional[Request], error: HTTPError) -> Response:
        """Put an error into words, and count it."""
        self._refusals.add(address, str(error.status))
        return wording.problem(request, error)

    def _identify(self, request: Request) -> Caller:
        shown = access.Credentials(
            request.headers.get("authorization"), request.certname, request.secure or request.local
        )
        return access.identify(self._configuration(), self._current(self._tokens), request.address, shown)

    def _configuration(self) -> Config:
        settings = self._current(self._config)
        if settings != self._settings:
            self._settings = settings
            self._handler.forget()
        return settings

    def _current(self, file: Watched[Content]) -> Content:
        try:
            return file.current()
        except ConfigError as error:
            raise HTTPError(503, MISCONFIGURED, close=True) from error


def _split(target: str) -> tuple[str, str]:
    """Path and query of a request target. The absolute form must be understood (RFC 9112 section 3.2.2)."""
    if target.lower().startswith(("http://", "https://")):
        authority, slash, rest = target.partition("://")[2].partition("/")
        target = slash + rest or "/" + authority.partition("?")[1] + authority.partition("?")[2]
    path, _, query = target.partition("?")
    return unquote(path, errors="replace"), query


READ = ("GET", "HEAD")
TRIGGER = ("async", "wait", "queue", "noop", "tags", "environment")
ROUTES = {
    "/puppet/twitch": Route(("GET", "POST"), TRIGGER, endpoints.trigger),
    "/puppet/status": Route(READ, ("max_age",), endpoints.status),
    "/puppet/runs": Route(READ, (), endpoints.runs),
    "/version": Route(READ, (), endpoints.version),
    "/info": Route(READ, (), endpoints.info),
}
RUN_ROUTE = Route(READ, ("wait",), endpoints.run)
