"""TLS with Puppet's own certificates: the credentials from systemd, and the certname of a client.

The listener's user never gets access to these files: LoadCredential= in a drop-in lets PID 1 read
them (tls.conf, beside this program's documentation).
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

from twitch.config import Config
from twitch.errors import ConfigError
from twitch.listener.exchange import HTTPError
from twitch.listener.watched import FaultLog, Watched

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

DIRECTORY = "CREDENTIALS_DIRECTORY"
CERT, KEY, CA, CRL = CREDENTIALS = ("cert", "key", "ca", "crl")

# Certnames as Puppet allows them; with `cert:` one fits into a packet. [access] allows no others.
CERTNAME = re.compile(r"[a-z0-9_.-]{1,250}")

# Of TLS 1.2, only forward secrecy with authenticated encryption. 1.3 has nothing else.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def leave_out() -> None:
    """Make asyncio do without ssl: OpenSSL is 8 ms of a cold start and 4 MiB of memory.

    For a process without credentials: they come only with a start, so it will never need TLS.
    """
    sys.modules["ssl"] = None  # type: ignore[assignment]


def failure(error: BaseException) -> str:
    """Return why a handshake failed, in OpenSSL's words; empty if the error is not one of TLS."""
    # An ssl.SSLError, by an attribute that only it has: `leave_out` makes the class itself unavailable.
    if not hasattr(error, "library"):
        return ""
    reason = getattr(error, "reason", "") or "handshake failed"  # PEER_DID_NOT_RETURN_A_CERTIFICATE
    return getattr(error, "verify_message", "") or reason.lower().replace("_", " ")


def context(client: str, directory: Optional[str] = None) -> ssl.SSLContext:
    """Return the context of a TLS server; `client` is optional or required.

    Raises `ConfigError` naming the credential that is missing or wrong.
    """
    directory = directory or os.environ.get(DIRECTORY, "")
    paths = {name: os.path.join(directory, name) for name in CREDENTIALS}
    for name, path in paths.items():
        if not directory or not os.path.exists(path):
            raise ConfigError(f"[tls] enabled = yes, but systemd passes no credential {name!r}; see tls.conf")
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    # A resumed session would not be checked against a newer CRL.
    made.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    made.num_tickets = 0
    made.set_alpn_protocols(["http/1.1"])
    made.verify_mode = ssl.CERT_REQUIRED if client == "required" else ssl.CERT_OPTIONAL
    # A CRL is required of every CA in the chain, root and intermediate: Puppet's crl.pem holds both.
    made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    try:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        made.load_cert_chain(paths[CERT], paths[KEY], password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"[tls] the credentials 'cert' and 'key' do not fit: {_said(error)}") from error
    for name in (CA, CRL):
        try:
            made.load_verify_locations(paths[name])
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"[tls] the credential {name!r} is not usable: {_said(error)}") from error
    return made


class Contexts:
    """The context that the configuration asks for now; made once for each kind.

    New certificates and CRLs come with the next listener, which is minutes away.
    """

    def __init__(self, settings: Watched[Config]) -> None:
        self._settings = settings
        self._made: dict[str, ssl.SSLContext] = {}
        self._faults = FaultLog()

    def current(self) -> Optional[ssl.SSLContext]:
        """Return the context, or None for plain HTTP; raises `ConfigError`."""
        settings = self._settings.current()
        if settings.tls and settings.tls_client not in self._made:
            self._made[settings.tls_client] = self._make(settings.tls_client)
        return self._made[settings.tls_client] if settings.tls else None

    def _make(self, client: str) -> ssl.SSLContext:
        with self._faults.once():
            return context(client)


def certname(certificate: Mapping[str, Any]) -> Optional[str]:
    """Return the one CN of a verified certificate; None if the client has shown no certificate.

    Puppet's certificates have exactly one CN. Raises `HTTPError` (403) for several, because any choice
    would be a guess, and for a CN that is not a certname.
    """
    if not certificate:
        return None
    names = common_names(certificate)
    if len(names) != 1:
        raise HTTPError(403, f"A client certificate must have exactly one CN, this one has {len(names)}")
    if not CERTNAME.fullmatch(names[0]):
        raise HTTPError(403, "The CN of the client certificate is not a valid Puppet certname")
    return names[0]


def common_names(certificate: Mapping[str, Any]) -> list[str]:
    """Return the CNs of a certificate as `ssl` returns one."""
    parts = certificate.get("subject", ())
    return [str(value) for part in parts for key, value in part if key == "commonName"]


def _said(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
