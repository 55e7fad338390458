"""A context of TLS, made of the files: certificate and key, CA, CRL; and why a CRL verifies no certificate.

Only a listener with TLS imports this file.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from twitch.config import Config
from twitch.errors import ConfigError
from twitch.listener import crl_parser, tls
from twitch.listener.crl_parser import CRL

# ssl.VERIFY_X509_PARTIAL_CHAIN, which Python has from 3.10 on.
PARTIAL_CHAIN = 0x80000

# What OpenSSL says of a chain that is verified without the CRLs that it needs (X509_STORE_CTX_get_error(3)):
# UNABLE_TO_GET_CRL, its signature, CRL_NOT_YET_VALID, CRL_HAS_EXPIRED, its dates, its issuer, its scope.
CRL_ERRORS = (3, 5, 8, 11, 12, 15, 16, 33, 35, 36, 44, 54)


class Trust(NamedTuple):
    """A context, and what it was made of."""

    context: ssl.SSLContext
    client: str  # [tls] client
    revocation: str  # [tls] revocation
    ca: bytes
    crls: tuple[CRL, ...]
    fault: str  # why this CRL can verify no certificate; clients without one are served all the same
    expires_s: float  # when the next CRL expires, in epoch seconds


def trust(config: Config, paths: tls.Files) -> Trust:
    """Return the context of a TLS server. Raises `ConfigError` naming the file that is missing or wrong."""
    made = context(paths.cert, paths.key)
    ca = _content(tls.CA, paths.ca)
    crls = _lists(paths.crl) if paths.crl else ()
    made.verify_mode = ssl.CERT_REQUIRED if config.tls_client == "required" else ssl.CERT_OPTIONAL
    for name, path in ((tls.CA, paths.ca), (tls.CRL, paths.crl)):
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
        # Counted, because to verify takes a handshake. A file with as many CRLs of other CAs is not noticed;
        # client certificates are then refused in the handshake.
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
    tls.bound_buffers()
    tls.send_alerts()
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


def verify_own(server: ssl.SSLContext, paths: tls.Files, config: Config) -> Mapping[str, Any]:
    """Return our certificate as a client with this CA and CRL has verified it, in a handshake with ourselves.

    Raises `ssl.SSLError`.
    """
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
    flags = {"chain": ssl.VERIFY_CRL_CHECK_CHAIN, "leaf": ssl.VERIFY_CRL_CHECK_LEAF}
    return flags.get(config.tls_revocation, ssl.VerifyFlags(0))


def _anchor_flags(config: Config) -> ssl.VerifyFlags:
    """Return the flag that lets a CA below a root be trusted alone, where CRLs above it are not needed."""
    return ssl.VerifyFlags(0 if config.tls_revocation == "chain" else PARTIAL_CHAIN)


def _crl_fault(server: ssl.SSLContext, paths: tls.Files, config: Config) -> str:
    """Return why the CRL keeps our own certificate from being verified, and any of its CA; empty if not."""
    try:
        verify_own(server, paths, config)
    except ssl.SSLError as error:
        if getattr(error, "verify_code", 0) in CRL_ERRORS:
            return f"[tls] the crl {paths.crl} verifies no certificate: {tls.failure(error)}"
    return ""


def _lists(path: str) -> tuple[CRL, ...]:
    content = _content(tls.CRL, path)
    if b"-----BEGIN CERTIFICATE-----" in content:  # OpenSSL would take them for CAs
        raise ConfigError(f"[tls] the crl {path} is not usable: it has certificates")
    try:
        lists = crl_parser.read(content)
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


def _said(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
