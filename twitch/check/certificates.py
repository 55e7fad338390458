"""TLS: the certificate, key, CA and CRL that systemd hands to the listener as credentials."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import tempfile
import time
from collections.abc import Iterator
from typing import Optional

from twitch.check import systemd
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import Config
from twitch.errors import ConfigError, PuppetError
from twitch.listener import tls
from twitch.root import puppet

SOON_S = 30 * 86400
# Puppet 8 refreshes its CRL daily; Puppet 7 only if crl_refresh_interval is set.
CRL_OLD_S = 30 * 86400

SET_UP = "set up certificate, key, CA and CRL as /usr/share/doc/puppet-twitch/tls.conf describes"
RENEW = (
    "for the node's own certificate: puppetserver ca clean --certname NODE on the server, then here puppet"
    " ssl clean and puppet ssl bootstrap; for another: puppetserver ca generate --certname NAME on the server"
)
RENEW_CA = "renew the CA on the puppetserver, then replace the file of the credential ca on this node"
REFRESH = "set crl_refresh_interval = 1d in [agent] of puppet.conf; the next Puppet run then fetches the CRL"

# The error of a verification (X509_verify_cert_error_string(3)), and its fix.
FIXES = {
    "certificate has expired": RENEW,
    "certificate revoked": RENEW,
    "CRL has expired": REFRESH,
    "unable to get certificate CRL": "put a CRL of every CA, intermediates too, into the credential crl",
}


def check(config: Config, unit: str) -> Iterator[Finding]:
    """Report on certificate, key, CA and CRL as the listener's unit would get them."""
    paths = systemd.credentials(unit)
    if not config.tls:
        if paths:
            text = f"{unit} gets TLS credentials (LoadCredential=), but TLS is off"
            yield Finding(NOTE, text, "set [tls] enabled = yes in puppet-twitch.conf")
        return
    missing = [name for name in tls.CREDENTIALS if not os.path.exists(paths.get(name, ""))]
    if missing:
        names = ", ".join(f"{name} ({paths.get(name, 'no LoadCredential=')})" for name in missing)
        yield Finding(FAULT, f"TLS: missing {names}, so {unit} cannot start, or answers 503", SET_UP)
        return
    with tempfile.TemporaryDirectory() as directory:
        for name in tls.CREDENTIALS:
            os.symlink(paths[name], os.path.join(directory, name))
        try:
            server = tls.context(config.tls_client, directory)
        except ConfigError as error:
            sources = ", ".join(paths[name] for name in tls.CREDENTIALS)
            yield Finding(FAULT, f"{error} ({sources})", SET_UP)
            return
    yield Finding(GOOD, f"TLS is on with {paths[tls.CERT]}; client certificates are {config.tls_client}")
    yield from _node_key(config, paths[tls.KEY])
    yield from _verification(paths, server)
    yield from _crl(config, paths[tls.CRL])


def _node_key(config: Config, key: str) -> Iterator[Finding]:
    """Report a listener that holds the key of the node, or a key of which that cannot be ruled out."""
    node_key = _puppet_setting(config, "hostprivkey")
    if node_key is None or os.path.realpath(key) == os.path.realpath(node_key):
        text = (
            f"the listener holds {key}: an attacker who takes over the listener"
            " can impersonate this node and fetch its catalog"
        )
        fix = (
            "use a certificate of its own: puppetserver ca generate --certname twitch.NODE on the server,"
            " then name its files in tls.conf"
        )
        yield Finding(NOTE, text, fix)


def _verification(paths: dict[str, str], server: ssl.SSLContext) -> Iterator[Finding]:
    """Verify the certificate as a node of the same CA would, in a handshake with ourselves."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    for name in (tls.CA, tls.CRL):
        client.load_verify_locations(paths[name])
    client.load_cert_chain(paths[tls.CERT], paths[tls.KEY], password="")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    try:
        for end in ends * 4:  # more flights than any handshake has
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    except ssl.SSLError as error:
        cause = getattr(error, "verify_message", "") or str(error.reason)
        text = f"TLS: {paths[tls.CERT]} fails verification with this CA and CRL: {cause}"
        yield Finding(FAULT, text, FIXES.get(cause, SET_UP))
        return
    expires = dict(ends[0].getpeercert() or {}).get("notAfter")
    yield from _expiry(f"certificate {paths[tls.CERT]}", expires, RENEW)
    for authority in client.get_ca_certs():
        name = " ".join(tls.common_names(authority))
        yield from _expiry(f"CA {name!r}", authority.get("notAfter"), RENEW_CA)


def _crl(config: Config, path: str) -> Iterator[Finding]:
    with open(path, encoding="ascii", errors="replace") as file:
        crls = re.findall("-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", file.read(), re.DOTALL)
    for crl in crls:
        next_update = systemd.output(["openssl", "crl", "-noout", "-nextupdate"], crl)
        if next_update is None:
            fix = f"install openssl, then: openssl crl -noout -nextupdate -in {path}"
            yield Finding(NOTE, f"the expiry date of the CRL {path} is unknown, because openssl fails", fix)
            break
        yield from _expiry(f"CRL {path}", next_update.partition("=")[2], REFRESH)
    days = int((time.time() - os.stat(path).st_mtime) / 86400)
    yield Finding(GOOD, f"the CRL {path} was fetched {days} days ago")
    if _puppet_setting(config, "crl_refresh_interval") == "":
        text = (
            f"Puppet never refreshes {path}: a certificate that is revoked from now on is still accepted here"
        )
        yield Finding(NOTE, text, REFRESH)
    elif days * 86400 >= CRL_OLD_S:
        text = f"the CRL {path} is {days} days old: certificates revoked since then are still accepted here"
        yield Finding(NOTE, text, REFRESH)


def _expiry(subject: str, expires: object, renew: str) -> Iterator[Finding]:
    """Report until when a file is valid; `expires` is `Nov 21 02:37:18 2031 GMT`, as OpenSSL prints it."""
    try:
        expires_s = ssl.cert_time_to_seconds(str(expires))
    except ValueError:
        text = f"the expiry date of the {subject} is unknown: OpenSSL prints {expires}"
        yield Finding(NOTE, text, "look at the file with openssl x509 or openssl crl")
        return
    day = time.strftime("%Y-%m-%d", time.gmtime(expires_s))
    if expires_s < time.time():
        yield Finding(FAULT, f"the {subject} expired on {day}", renew)
    elif expires_s < time.time() + SOON_S:
        yield Finding(NOTE, f"the {subject} expires within a month, on {day}", renew)
    else:
        yield Finding(GOOD, f"the {subject} is valid until {day}")


def _puppet_setting(config: Config, name: str) -> Optional[str]:
    """Return a setting of Puppet's, or None if Puppet cannot be asked."""
    try:
        command = [puppet.find(config.puppet_path), "config", "print", "--section", "agent", name]
    except PuppetError:
        return None
    return systemd.output(command)
