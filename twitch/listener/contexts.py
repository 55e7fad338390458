"""The TLS context for each new connection, and whether one that exists may go on: files are watched here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

from twitch.config import Config
from twitch.errors import MISCONFIGURED, ConfigError
from twitch.listener import tls, watched
from twitch.listener.exchange import HTTPError
from twitch.listener.refusal_log import MISCONFIGURED_REASON
from twitch.listener.watched import FaultLog, Watched

if TYPE_CHECKING:
    import ssl

    from twitch.listener.tls_context import Trust

log = logging.getLogger(__name__)

# A fault is looked at again this often, although no file has changed.
RETRY_FAULT_S = 1.0
# Handshakes of clients that are to be told that there is no place for them: each costs CPU and 100 KiB.
MAX_REFUSED_HANDSHAKES = 16

NO_CERTIFICATES = "This node cannot verify certificates, because of its CRL; see its journal"


class Loaded(NamedTuple):
    """The outcome of loading the files, and the key under which it holds: configuration and stamps."""

    key: object
    result: Union[Trust, ConfigError]
    at: float  # on the clock of the loop


class Contexts:
    """The context that configuration, CA and CRL ask for now; it is made again when one of them has changed.

    That takes 60 to 250 ms with a CRL of 25,000 revocations, so it is done in a thread. New connections and
    requests over TLS wait for it, and nothing else does. New files for certificate and key come with the next
    listener, which is minutes away.
    """

    def __init__(self, settings: Watched[Config]) -> None:
        self._settings = settings
        self._loaded: Optional[Loaded] = None
        self._loading: Optional[asyncio.Task[Loaded]] = None
        self._refusing: Optional[ssl.SSLContext] = None
        self._refused = 0
        self._faults = FaultLog()

    async def current(self) -> Optional[Trust]:
        """Return what a new connection is served with, or None for plain HTTP; raises `ConfigError`."""
        settings = self._settings.current()
        if not settings.tls:
            return None
        try:
            result = (await self._load(settings, tls.files(settings, tls.credentials_passed()))).result
            if isinstance(result, ConfigError):
                raise result.with_traceback(None)
        except ConfigError as error:
            self._faults.log(str(error))
            raise
        self._faults.log(result.fault)
        return result

    async def vet(self, then: Trust, certificate: Mapping[str, Any]) -> None:
        """Raise `HTTPError` if a client that has connected under `then` would not be served now.

        Called for each request, because a connection that is kept alive must end with the right to it.
        `certificate` is empty if the client has shown none.
        """
        import ssl

        try:
            now = await self.current()
        except ConfigError as error:
            raise HTTPError(503, MISCONFIGURED, close=True, reason=MISCONFIGURED_REASON) from error
        if now is None:
            return
        if now.fault and certificate:
            raise HTTPError(503, NO_CERTIFICATES, close=True, reason="CRL that verifies no certificate")
        if certificate and ssl.cert_time_to_seconds(str(certificate["notAfter"])) < time.time():
            text = "The client certificate has expired"
            raise HTTPError(403, text, close=True, reason="certificate expired")
        if now is then:
            return
        if certificate and _revoked(certificate, now, then):
            text = "The client certificate has been revoked"
            raise HTTPError(403, text, close=True, reason="certificate revoked")
        # What else has changed is for a new handshake to decide.
        if then.fault or (then.client, then.revocation, then.ca) != (now.client, now.revocation, now.ca):
            text = "The TLS settings of this node have changed: connect again"
            raise HTTPError(503, text, close=True, reason="TLS settings have changed")

    @contextlib.contextmanager
    def refusing(self) -> Iterator[Optional[ssl.SSLContext]]:
        """Provide a context for telling a client over TLS why it is not served, if there can be one.

        It has certificate and key, which are good whatever the fault is, and asks for nothing. Raises
        `HTTPError` if too many clients are being told.
        """
        credentials = tls.credentials_passed()
        if not {tls.CERT, tls.KEY} <= credentials.keys():
            yield None
            return
        if self._refused >= MAX_REFUSED_HANDSHAKES:
            raise HTTPError(503, "Too many connections", reason="no room")
        self._refused += 1
        try:
            if self._refusing is None:
                from twitch.listener import tls_context

                with contextlib.suppress(ConfigError):
                    self._refusing = tls_context.context(credentials[tls.CERT], credentials[tls.KEY])
            yield self._refusing
        finally:
            self._refused -= 1

    def lasting(self) -> bool:
        """Return whether a newer CA or CRL takes effect in this process, however long it stays."""
        try:
            settings = self._settings.current()
            paths = tls.files(settings, tls.credentials_passed()) if settings.tls else ()
        except ConfigError:
            return False
        return not {tls.CA, tls.CRL} & {
            name for name, path in tls.credentials_passed().items() if path in paths
        }

    async def _load(self, settings: Config, paths: tls.Files) -> Loaded:
        """Return what these files hold, loading them if they have changed; one such task at a time."""
        # Before the files are read: a change meanwhile leaves another stamp, and is seen at the next request.
        key = (settings, paths, *(watched.stamp(path) for path in paths if path))
        while self._loaded is None or not self._holds(self._loaded, key):
            if self._loading is None:
                self._loading = asyncio.get_running_loop().create_task(self._loaded_now(key, settings, paths))
            loading = self._loading
            # Not `await loading`: a client that leaves must not end it for the others.
            await asyncio.wait({loading})
            if loading.result().key == key:
                return loading.result()
        return self._loaded

    async def _loaded_now(self, key: object, settings: Config, paths: tls.Files) -> Loaded:
        loop = asyncio.get_running_loop()

        def load() -> Union[Trust, ConfigError]:
            from twitch.listener import tls_context  # which a listener without TLS does not need

            try:
                return tls_context.trust(settings, paths)
            except ConfigError as error:
                return error

        try:
            # The first one of a process has nobody to keep waiting, and does without a thread.
            result = await loop.run_in_executor(None, load) if self._loaded else load()
            log.debug("%s are read", ", ".join(path for path in paths if path))
            outcome = Loaded(key, result, loop.time())
            settled = not any(watched.fresh(path) for path in paths if path)
            self._loaded = outcome if settled else outcome._replace(key=None)
            return outcome
        finally:
            self._loading = None

    def _holds(self, loaded: Loaded, key: object) -> bool:
        if loaded.key != key:
            return False
        if isinstance(loaded.result, ConfigError):  # it may have been for want of descriptors or memory
            return asyncio.get_running_loop().time() < loaded.at + RETRY_FAULT_S
        return time.time() < loaded.result.expires_s


def _revoked(certificate: Mapping[str, Any], now: Trust, then: Trust) -> bool:
    """Return whether a certificate that was verified with the CRLs of `then` is in one of `now`."""
    newer = [one for one in now.crls if one not in then.crls]
    issuer = [str(value) for part in certificate["issuer"] for _, value in part]
    by_issuer = [one for one in newer if one.is_by(issuer)] or newer
    return any(one.lists(str(certificate["serialNumber"])) for one in by_issuer)
