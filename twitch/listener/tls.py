"""TLS with Puppet's own certificates: what systemd hands over as credentials, and who a client is.

The listener's user never gets a right to these files: LoadCredential= in a drop-in lets PID 1 read
them (tls.conf, beside this program's documentation).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

from twitch.config import Config
from twitch.errors import ConfigError, HTTPError
from twitch.listener.watched import Watched

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

DIRECTORY = "CREDENTIALS_DIRECTORY"
CERT, KEY, CA, CRL = CREDENTIALS = ("cert", "key", "ca", "crl")

# What Puppet lets a certname be; with `cert:` it fits into a packet. Nothing else can be written in
# [access] either.
CERTNAME = re.compile(r"[a-z0-9_.-]{1,250}")

# What is left of TLS 1.2: forward secrecy and authenticated encryption. 1.3 has nothing else.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def context(client: str, directory: Optional[str] = None) -> ssl.SSLContext:
    """Return what a TLS listener needs; `client` is optional or required.

    Raises `ConfigError` naming the credential that is missing or wrong.
    """
    directory = directory or os.environ.get(DIRECTORY, "")
    paths = {name: os.path.join(directory, name) for name in CREDENTIALS}
    for name, path in paths.items():
        if not directory or not os.path.exists(path):
            raise ConfigError(
                f"[tls] enabled = yes, but systemd hands over no credential {name!r}; see tls.conf"
            )
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    # A resumed session would not be checked against a newer CRL.
    made.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    made.num_tickets = 0
    made.set_alpn_protocols(["http/1.1"])
    made.verify_mode = ssl.CERT_REQUIRED if client == "required" else ssl.CERT_OPTIONAL
    # The CRL of every CA on the way, root and intermediate: Puppet's crl.pem holds both.
    made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    try:
        # Without a password OpenSSL would ask the terminal for the one of an encrypted key.
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
        self._fault = ""

    def current(self) -> Optional[ssl.SSLContext]:
        """Return the context, or None for plain HTTP; raises `ConfigError`."""
        settings = self._settings.current()
        if settings.tls and settings.tls_client not in self._made:
            self._made[settings.tls_client] = self._make(settings.tls_client)
        return self._made[settings.tls_client] if settings.tls else None

    def _make(self, client: str) -> ssl.SSLContext:
        try:
            return context(client)
        except ConfigError as fault:
            # Once, however many come: what is handed over is the same for as long as this process lives.
            if str(fault) != self._fault:
                self._fault = str(fault)
                log.error("%s", fault)
            raise


def certname(certificate: Mapping[str, Any]) -> Optional[str]:
    """Return the one CN of a verified certificate; None if the client has shown none.

    Puppet's certificates have exactly one. With several, which one was meant would be a guess
    (403).
    """
    if not certificate:
        return None
    names = common_names(certificate)
    if len(names) != 1:
        raise HTTPError(403, f"A client certificate must have exactly one CN, this one has {len(names)}")
    if not CERTNAME.fullmatch(names[0]):
        raise HTTPError(403, "The CN of the client certificate is not a certname as Puppet has them")
    return names[0]


def common_names(certificate: Mapping[str, Any]) -> list[str]:
    """Return the CNs of a certificate, in the form in which `ssl` has it."""
    parts = certificate.get("subject", ())
    return [str(value) for part in parts for key, value in part if key == "commonName"]


def _said(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
