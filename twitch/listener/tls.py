"""TLS with Puppet's own certificates: the files, the contexts made of them, and the certname of a client.

Certificate and key are credentials from systemd: PID 1 reads them, and the listener's user never gets access
to the files (LoadCredential= in a drop-in; tls.conf, beside this program's documentation). CA and CRL are
public. The listener reads them itself, so that a revocation takes effect at once and a CRL may be larger
than the 1 MiB that systemd allows for all credentials of a unit.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from twitch.config import Config
from twitch.errors import ConfigError
from twitch.listener.exchange import HTTPError

if TYPE_CHECKING:
    import asyncio
    import ssl

    from twitch.listener.crl import CRL as List

log = logging.getLogger(__name__)

DIRECTORY = "CREDENTIALS_DIRECTORY"
CERT, KEY, CA, CRL = CREDENTIALS = ("cert", "key", "ca", "crl")

# Puppet's ssldir: that of the vendor's packages (AIO) and OpenVox where their command exists, else Debian's.
VENDOR_PUPPET, VENDOR_SSLDIR = "/opt/puppetlabs/bin/puppet", "/etc/puppetlabs/puppet/ssl"
DEBIAN_SSLDIR = "/var/lib/puppet/ssl"

# Certnames as Puppet allows them; with `cert:` one fits into a packet. [access] allows no others.
CERTNAME = re.compile(r"[a-z0-9_.-]{1,250}")

# ssl.VERIFY_X509_PARTIAL_CHAIN, which Python has from 3.10 on.
PARTIAL_CHAIN = 0x80000

# What OpenSSL says of a chain that is verified without the CRLs that it needs (X509_STORE_CTX_get_error(3)):
# UNABLE_TO_GET_CRL, its signature, CRL_NOT_YET_VALID, CRL_HAS_EXPIRED, its dates, its issuer, its scope.
CRL_ERRORS = (3, 5, 8, 11, 12, 15, 16, 33, 35, 36, 44, 54)

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


class Trust(NamedTuple):
    """A context, and what it was made of."""

    context: ssl.SSLContext
    client: str  # [tls] client
    revocation: str  # [tls] revocation
    ca: bytes
    crls: tuple[List, ...]
    fault: str  # why this CRL can verify no certificate; clients without one are served all the same
    expires_s: float  # when the next CRL expires, in epoch seconds


def trust(config: Config, paths: Files) -> Trust:
    """Return the context of a TLS server. Raises `ConfigError` naming the file that is missing or wrong."""
    import ssl

    made = context(paths.cert, paths.key)
    ca = _content(CA, paths.ca)
    crls = _lists(paths.crl) if paths.crl else ()
    made.verify_mode = ssl.CERT_REQUIRED if config.tls_client == "required" else ssl.CERT_OPTIONAL
    for name, path in ((CA, paths.ca), (CRL, paths.crl)):
        if path:
            try:
                made.load_verify_locations(path)
            except (ssl.SSLError, OSError) as error:
                raise ConfigError(f"[tls] the {name} {path} is not usable: {_said(error)}") from error
    made.verify_flags |= _anchor_flags(config)
    now_s = time.time()
    expiries = [one.expires_s for one in crls if one.expires_s is not None]
    fault = ""
    if paths.crl:
        made.verify_flags |= _crl_flags(config)
        incomplete = len(crls) < len(made.get_ca_certs())
        if incomplete or min(expiries, default=now_s) < now_s:
            fault = _crl_fault(made, paths, config)
        if fault:
            # The chain is still verified. The holder of a certificate is then told the fault, and no more,
            # where without this its handshake would fail with an alert that says nothing.
            made.verify_flags &= ~_crl_flags(config)
    expires_s = min((at for at in expiries if at > now_s), default=float("inf"))
    return Trust(made, config.tls_client, config.tls_revocation, ca, crls, fault, expires_s)


def context(cert: str, key: str) -> ssl.SSLContext:
    """Return a context with certificate and key alone, that asks no client for a certificate.

    Raises `ConfigError`.
    """
    import ssl

    bound_buffers()
    send_alerts()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # With TLS 1.2 OpenSSL resumes sessions from its memory (6 kB each, up to 20,480), which `ssl` cannot turn
    # off: a resumed session is verified by nobody, and the memory of this process would be the client's to
    # use. With 1.3 and no tickets there is nothing to resume (HACKING.md, "TLS 1.3 only,
    # without tickets").
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.num_tickets = 0
    made.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    made.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        made.load_cert_chain(cert, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"[tls] the credentials 'cert' and 'key' do not fit: {_said(error)}") from error
    return made


def verify_own(server: ssl.SSLContext, paths: Files, config: Config) -> Mapping[str, Any]:
    """Return our certificate as a client with this CA and CRL has verified it, in a handshake with ourselves.

    Raises `ssl.SSLError`.
    """
    import ssl

    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(paths.ca)
    client.verify_flags |= _anchor_flags(config)
    if paths.crl:
        client.load_verify_locations(paths.crl)
        client.verify_flags |= _crl_flags(config)
    client.load_cert_chain(paths.cert, paths.key, password="")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for end in ends * 4:  # more flights than any handshake has
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return ends[0].getpeercert() or {}


def _crl_flags(config: Config) -> ssl.VerifyFlags:
    """Return the flags for [tls] revocation, which has the meanings of Puppet's certificate_revocation."""
    import ssl

    flags = {"chain": ssl.VERIFY_CRL_CHECK_CHAIN, "leaf": ssl.VERIFY_CRL_CHECK_LEAF}
    return flags.get(config.tls_revocation, ssl.VerifyFlags(0))


def _anchor_flags(config: Config) -> ssl.VerifyFlags:
    """Return the flag that lets a CA below a root be trusted alone, where CRLs above it are not needed."""
    import ssl

    return ssl.VerifyFlags(0 if config.tls_revocation == "chain" else PARTIAL_CHAIN)


def _crl_fault(server: ssl.SSLContext, paths: Files, config: Config) -> str:
    """Return why the CRL keeps our own certificate from being verified, and any of its CA; empty if not."""
    import ssl

    try:
        verify_own(server, paths, config)
    except ssl.SSLError as error:
        if getattr(error, "verify_code", 0) in CRL_ERRORS:
            return f"[tls] the crl {paths.crl} verifies no certificate: {failure(error)}"
    return ""


def _lists(path: str) -> tuple[List, ...]:
    from twitch.listener import crl

    content = _content(CRL, path)
    if b"-----BEGIN CERTIFICATE-----" in content:  # OpenSSL would take them for CAs
        raise ConfigError(f"[tls] the crl {path} is not usable: it has certificates")
    try:
        lists = crl.read(content)
    except ValueError as error:
        raise ConfigError(f"[tls] the crl {path} is not usable: {error}") from error
    if not lists:
        raise ConfigError(f"[tls] the crl {path} is not usable: it has no CRL")
    return lists


def _content(name: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        text = f"[tls] the {name} {path} cannot be read: {error.strerror}; see tls.conf"
        raise ConfigError(text) from error


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
    if not CERTNAME.fullmatch(names[0]):
        text = "The CN of the client certificate is not a valid Puppet certname"
        raise HTTPError(403, text, reason="certificate without a valid certname")
    return names[0]


def common_names(certificate: Mapping[str, Any]) -> list[str]:
    """Return the CNs of a certificate as `ssl` returns one."""
    parts = certificate.get("subject", ())
    return [str(value) for part in parts for key, value in part if key == "commonName"]


def _said(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
