"""The table of paths, and the checks of every request: its address, path, method, parameters and caller."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional
from urllib.parse import unquote

from twitch.caller import Caller
from twitch.config import Config
from twitch.errors import MISCONFIGURED, ConfigError
from twitch.listener import access
from twitch.listener.api import (
    cancel,
    disabling,
    info,
    metrics,
    parameters,
    reply,
    runs,
    status,
    trigger,
)
from twitch.listener.api.call import Call, Patience
from twitch.listener.api.reply import Reply
from twitch.listener.exchange import HTTPError, Request, Response
from twitch.listener.pause import Pause
from twitch.listener.refusal_log import MISCONFIGURED_REASON, Refusals, kind, words
from twitch.listener.root_client import RootClient, Turns
from twitch.listener.tokens import Token
from twitch.listener.watched import Content, Watched
from twitch.record_files import Records

if TYPE_CHECKING:
    from twitch.listener.log_sharing import Sources

log = logging.getLogger(__name__)

# With a process for each connection (Accept=yes) systemd allows 64 processes. None may be held for longer
# than this by a caller that waits.
MAX_WAIT_ALONE_S = 60

READ = ("GET", "HEAD")
TRIGGER = ("async", "wait", "queue", "noop", "tags", "environment", "label", "follow")
RUNS = ("limit", "since", "verdict")


class Route(NamedTuple):
    """A path, its methods and parameters, and the endpoint that answers."""

    path: str  # a regular expression; the group `run` is the id of a run, `last` or `current`
    methods: tuple[str, ...]
    parameters: tuple[str, ...]
    answer: Callable[[Call], Awaitable[Reply]]


ROUTES = (
    Route(r"/puppet/twitch", ("GET", "POST"), TRIGGER, trigger.trigger),
    Route(r"/puppet/status", READ, ("max_age",), status.status),
    Route(r"/puppet/runs", READ, RUNS, runs.newest),
    Route(r"/puppet/runs/(?P<run>[^/]*)/log", READ, ("follow", "after", "tail", "level"), runs.log),
    Route(r"/puppet/runs/(?P<run>[^/]*)/cancel", ("POST",), ("wait", "force"), cancel.cancel),
    Route(r"/puppet/runs/(?P<run>.*)", READ, ("wait",), runs.one),
    Route(r"/metrics", READ, (), metrics.metrics),
    Route(r"/puppet/disable", ("POST",), ("reason", "for", "wait", "force"), disabling.disable),
    Route(r"/puppet/enable", ("POST",), ("force",), disabling.enable),
    Route(r"/version", READ, (), info.version),
    Route(r"/info", READ, (), info.info),
)


class API:
    """The API, as a connection calls it (`connection.Service`)."""

    def __init__(
        self,
        config: Watched[Config],
        tokens: Watched[tuple[Token, ...]],
        root: RootClient,
        records: Records,
        refusals: Refusals,
        *,
        longest_wait_s: float = parameters.MAX_WAIT_S,
    ) -> None:
        self._config = config
        self._tokens = tokens
        self._root = root
        self._records = records
        self._refusals = refusals
        self._longest_wait_s = longest_wait_s
        self._last_config: Optional[Config] = None
        self._logs: Optional[Sources] = None
        self._lists = Turns()

    def admit(self, address: str) -> None:
        """Raise `HTTPError` for addresses outside `[access] from`, and while the configuration is invalid."""
        if not access.is_address_accepted(self._configuration(), address):
            text = "Not allowed from this address"
            raise HTTPError(403, text, close=True, reason="address outside [access] from")

    async def respond(self, request: Request, pause: Pause) -> Response:
        """Answer a complete request; raises `HTTPError` for one that is refused."""
        path, query = _split(request.target)
        route, run = _route(path)
        if request.method not in route.methods:
            allow = ("Allow", ", ".join(route.methods))
            raise HTTPError(405, f"{path} takes {' or '.join(route.methods)}", headers=(allow,))
        values = parameters.read(request, query, route.parameters)
        caller = self._identify(request)
        pause.named = caller.named
        log.debug("%s %a by %s at %s", request.method, path, caller.name, caller.address)
        patience = Patience(pause, self._longest_wait_s)
        sources = (self._root, self._records, self._sources, self._lists)
        call = Call(request, run, values, caller, patience, *sources, self._configuration())
        try:
            answer = await route.answer(call)
        except HTTPError as error:
            error.caller = _named(caller.name)
            raise
        log.debug("%s at %s is answered %d", caller.name, caller.address, answer.status)
        if answer.refused:
            # Root logs its refusals, but not those that come from the memory of its answers.
            self._refusals.add(request.address, words(answer.status), _named(caller.name))
        return reply.render(answer, request.headers.get("accept", ""))

    def dropped(self, address: str, why: str) -> None:
        """Count a connection that was closed before its first request."""
        self._refusals.add(address, why)

    def explain(self, address: str, request: Optional[Request], error: HTTPError) -> Response:
        """Return the response for an error, and count it."""
        # Without the text, which may quote the request, and so a token that was put in the wrong place.
        log.debug("%s is refused with %d", address, error.status)
        certname = f"cert:{request.certname}" if request and request.certname else ""
        self._refusals.add(address, kind(error), error.caller or certname)
        return reply.render(reply.of_error(error), request.headers.get("accept", "") if request else "")

    def _sources(self) -> Sources:
        """Return the logs that are read."""
        if self._logs is None:
            from twitch.listener.log_sharing import Sources  # which few requests need

            self._logs = Sources(self._records, self._root)
        return self._logs

    def _identify(self, request: Request) -> Caller:
        credentials = access.Credentials(
            authorization=request.headers.get("authorization"),
            certname=request.certname,
            private=request.secure or request.local,
        )
        config, tokens = self._configuration(), self._current(self._tokens)
        return access.identify(config, tokens, request.address, credentials)

    def _configuration(self) -> Config:
        config = self._current(self._config)
        if config != self._last_config:
            self._last_config = config
            self._root.forget()  # its answers were given under another configuration
        return config

    def _current(self, file: Watched[Content]) -> Content:
        try:
            return file.current()
        except ConfigError as error:
            raise HTTPError(503, MISCONFIGURED, close=True, reason=MISCONFIGURED_REASON) from error


def _named(name: str) -> str:
    """Return the name of a caller that has shown a credential, with a line in [access] or not; else ''."""
    return "" if name == access.ANONYMOUS else name


# The beginning of a request target that is a whole URL, which a server must accept (RFC 9112 section 3.2.2).
# The authority ends at the first slash, question mark or number sign (RFC 3986 section 3.2): a query before
# the first slash is a query. A backslash is in no valid URL, and some clients take it for a slash.
AUTHORITY = re.compile(r"https?://[^/?#\\]*", re.IGNORECASE)


def _split(target: str) -> tuple[str, str]:
    """Return the path and the query of a request target."""
    authority = AUTHORITY.match(target)
    path, _, query = target[authority.end() if authority else 0 :].partition("?")
    return unquote(path or "/", errors="replace"), query


def _route(path: str) -> tuple[Route, str]:
    """Return the route of a path, and the id of the run in it or ''; raises `HTTPError` (404)."""
    for route in ROUTES:
        match = re.fullmatch(route.path, path, re.DOTALL)
        if match:
            return route, match.groupdict().get("run", "")
    raise HTTPError(404, "Not found; try /puppet/twitch, /puppet/status, /puppet/runs or /info")
