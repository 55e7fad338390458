"""TLS with Puppet's own certificates: the files, what asyncio is told, and the certname of a client.

Certificate and key are credentials from systemd: PID 1 reads them, and the listener's user never gets access
to the files (LoadCredential= in a drop-in; tls.conf, beside this program's documentation). CA and CRL are
public. The listener reads them itself, so that a revocation takes effect at once and a CRL may be larger
than the 1 MiB that systemd allows for all credentials of a unit.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from twitch.config import Config
from twitch.errors import ConfigError
from twitch.listener.exchange import HTTPError

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

DIRECTORY = "CREDENTIALS_DIRECTORY"
CERT, KEY, CA, CRL = CREDENTIALS = ("cert", "key", "ca", "crl")

# Puppet's ssldir: that of the vendor's packages (AIO) and OpenVox where their command exists, else Debian's.
VENDOR_PUPPET, VENDOR_SSLDIR = "/opt/puppetlabs/bin/puppet", "/etc/puppetlabs/puppet/ssl"
DEBIAN_SSLDIR = "/var/lib/puppet/ssl"

# Certnames as Puppet allows them; with `cert:` one fits into a packet. [access] allows no others.
CERTNAME = r"[a-z0-9_.-]{1,250}"

# What asyncio reads at once, and how many encrypted bytes it holds while a connection reads no further. Its
# own values are 256 KiB each, and the first is touched when a client connects: 256 clients that pipeline and
# do not read cost 248 MiB with them, 58 with 16 and 32 KiB, 46 with these. An honest request is smaller.
BUFFER_BYTES = AHEAD_BYTES = 4 * 1024


def leave_out() -> None:
    """Make asyncio do without ssl: OpenSSL is 8 ms of a cold start and 4 MiB of memory.

    For a process without credentials: they come only with a start, so it will never need TLS.
    """
    sys.modules["ssl"] = None  # type: ignore[assignment]


def bound_buffers() -> None:
    """Let asyncio read no more than BUFFER_BYTES at once (Python >= 3.11; before, it kept no buffer)."""
    from asyncio import sslproto

    # By name, because the type checkers' Python 3.9 does not have it.
    setattr(sslproto.SSLProtocol, "max_size", BUFFER_BYTES)  # noqa: B010


def send_alerts() -> None:
    """Let asyncio send the alert of a handshake that fails (Python >= 3.11), so that the client sees why.

    OpenSSL has written it, and asyncio closes the connection without it. Nothing of the client decides here.
    """
    from asyncio import sslproto

    # By name, because these are not asyncio's public names; without them, the end of the connection says it.
    end = getattr(sslproto.SSLProtocol, "_on_handshake_complete", None)
    if end is None or hasattr(end, "__wrapped__"):
        return

    @functools.wraps(end)
    def with_alert(protocol: object, failure: Optional[BaseException]) -> None:
        transport, outgoing = (getattr(protocol, name, None) for name in ("_transport", "_outgoing"))
        if failure is not None and transport and outgoing:
            transport.write(outgoing.read())
        end(protocol, failure)

    setattr(sslproto.SSLProtocol, "_on_handshake_complete", with_alert)  # noqa: B010


def bound_ahead(transport: asyncio.Transport) -> None:
    """Let asyncio read no more than AHEAD_BYTES that the connection does not take (Python >= 3.11)."""
    if hasattr(transport, "set_read_buffer_limits"):
        transport.set_read_buffer_limits(AHEAD_BYTES, 0)


def failure(error: BaseException) -> str:
    """Return why a handshake failed, in OpenSSL's words; empty if the error is not one of TLS."""
    # An ssl.SSLError, by an attribute that only it has: `leave_out` makes the class itself unavailable.
    if not hasattr(error, "library"):
        return ""
    reason = getattr(error, "reason", "") or "handshake failed"  # PEER_DID_NOT_RETURN_A_CERTIFICATE
    return getattr(error, "verify_message", "") or reason.lower().replace("_", " ")


class Files(NamedTuple):
    """The paths of certificate, key and CA, and of the CRL where there is to be one."""

    cert: str
    key: str
    ca: str
    crl: Optional[str]


def files(config: Config, credentials: Mapping[str, str]) -> Files:
    """Return the files that a listener with these credentials (name to path) uses.

    CA and CRL: the file that [tls] names, else the credential (puppet-twitch 1.0 knew nothing else), else
    Puppet's. Raises `ConfigError` without certificate or key.
    """
    for name in (CERT, KEY):
        if name not in credentials:
            raise ConfigError(f"[tls] enabled = yes, but systemd passes no credential {name!r}; see tls.conf")
    ssldir = VENDOR_SSLDIR if os.path.exists(VENDOR_PUPPET) else DEBIAN_SSLDIR
    ca = config.tls_ca or credentials.get(CA) or os.path.join(ssldir, "certs/ca.pem")
    revocations = config.tls_crl or credentials.get(CRL) or os.path.join(ssldir, "crl.pem")
    return Files(
        credentials[CERT], credentials[KEY], ca, None if config.tls_revocation == "no" else revocations
    )


def credentials_passed() -> dict[str, str]:
    """Return the credentials that systemd has passed to this process, name to path."""
    directory = os.environ.get(DIRECTORY, "")
    paths = {name: os.path.join(directory, name) for name in CREDENTIALS if directory}
    return {name: path for name, path in paths.items() if os.path.exists(path)}


def certname(certificate: Mapping[str, Any]) -> Optional[str]:
    """Return the one CN of a verified certificate; None if the client has shown no certificate.

    Puppet's certificates have exactly one CN. Raises `HTTPError` (403) for several, because any choice
    would be a guess, and for a CN that is not a certname.
    """
    if not certificate:
        return None
    names = common_names(certificate)
    if len(names) != 1:
        text = f"A client certificate must have exactly one CN, this one has {len(names)}"
        raise HTTPError(403, text, reason="certificate without exactly one CN")
    if not re.fullmatch(CERTNAME, names[0]):
        text = "The CN of the client certificate is not a valid Puppet certname"
        raise HTTPError(403, text, reason="certificate without a valid certname")
    return names[0]


def common_names(certificate: Mapping[str, Any]) -> list[str]:
    """Return the CNs of a certificate as `ssl` returns one."""
    parts = certificate.get("subject", ())
    return [str(value) for part in parts for key, value in part if key == "commonName"]
