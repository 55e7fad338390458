"""TLS: the certificate, key, CA and CRL that systemd hands to the listener as credentials."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from typing import Optional

from twitch.check import crls, expiry, reading, systemd
from twitch.check.expiry import Fix
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import Config
from twitch.errors import ConfigError, PuppetError
from twitch.listener import tls, tls_context
from twitch.root import puppet

# CREDENTIALS_TOTAL_SIZE_MAX of systemd, for all credentials of a unit together (seen with 252 and 257).
MAX_CREDENTIALS_BYTES = 1 << 20

SET_UP = "set up certificate, key, CA and CRL as /usr/share/puppet-twitch/tls.conf describes"
FILES = "remove LoadCredential=ca: and LoadCredential=crl:, as in /usr/share/puppet-twitch/tls.conf"
RENEW = (
    "for the node's own certificate: puppetserver ca clean --certname NODE on the server, then here puppet"
    " ssl clean and puppet ssl bootstrap; for another: puppetserver ca generate --certname NAME on the server"
)
RENEW_CA = "renew the CA on the puppetserver, then replace the file on this node"

# The error of a verification (X509_verify_cert_error_string(3)), and its fix by hand.
FIXES = {
    "certificate has expired": RENEW,
    "certificate revoked": RENEW,
    "unable to get certificate CRL": crls.LEAF,
}
CRL_EXPIRED = "CRL has expired"
SETTINGS = ("hostprivkey", "hostcrl", "certificate_revocation", "crl_refresh_interval")


def check(config: Config, unit: str) -> Iterator[Finding]:
    """Report on certificate, key, CA and CRL as the listener's unit would get them."""
    credentials = systemd.credentials(unit)
    if not config.tls:
        if credentials:
            text = f"{unit} gets TLS credentials (LoadCredential=), but TLS is off"
            yield Finding(NOTE, text, "set [tls] enabled = yes in puppet-twitch.conf", by_hand=True)
        return
    missing = [name for name in (tls.CERT, tls.KEY) if not os.path.exists(credentials.get(name, ""))]
    # A credential that is named and is not there keeps the unit from starting, whichever it is.
    missing += [
        name for name, path in credentials.items() if name not in missing and not os.path.exists(path)
    ]
    if missing:
        names = ", ".join(f"{name} ({credentials.get(name, 'no LoadCredential=')})" for name in missing)
        text = f"TLS: missing {names}, so {unit} cannot start, or answers 503"
        yield (None if credentials else _emptied(unit)) or Finding(FAULT, text, SET_UP, by_hand=True)
        return
    yield from _size(credentials, unit)
    paths = tls.files(config, credentials)
    unreadable = [
        path
        for path in (paths.ca, paths.crl)
        if path and path not in credentials.values() and not reading.readable(path, unit)
    ]
    for path in unreadable:
        text = f"TLS: {path} does not exist, or the listener may not read it, so the port answers 503"
        fix, by_hand = reading.fix(path, unit, SET_UP)
        yield Finding(FAULT, text, fix, by_hand)
    if unreadable:
        return
    try:
        server = tls_context.trust(config, paths)
    except ConfigError as error:
        yield Finding(FAULT, f"{error} ({', '.join(filter(None, paths))})", SET_UP, by_hand=True)
        return
    yield Finding(GOOD, f"TLS is on with {paths.cert}; client certificates are {config.tls_client}")
    settings = _puppet_settings(config)
    refresh = crls.refresh(config, settings, paths.crl or "")
    yield _node_key(settings, paths.key)
    yield from _verification(config, paths, server, refresh)
    yield crls.in_force(config, settings)
    if paths.crl:
        yield from crls.check(settings, paths.crl, server, refresh)
        yield from crls.complete(config, paths, paths.crl)


def _emptied(unit: str) -> Optional[Finding]:
    """Return the fault that a drop-in takes away the credentials that another one has set, if one does."""
    source = ""
    for path in systemd.show(unit, "DropInPaths").split():
        for line in _lines(path):
            name, _, value = (word.strip() for word in line.partition("="))
            if name == "LoadCredential" and value:
                source = path
            elif name == "LoadCredential" and source:
                directory, sorted_last = os.path.dirname(source), f"zzz-{os.path.basename(path)}"
                if os.path.basename(path) < "zzz-tls.conf":
                    sorted_last = "zzz-tls.conf"
                text = f"TLS: {path} has an empty LoadCredential=, which undoes those of {source}"
                fix = f"mv {source} {directory}/{sorted_last}; systemctl daemon-reload"
                return Finding(FAULT, f"{text}, because its name sorts after it", fix)
    return None


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _size(credentials: Mapping[str, str], unit: str) -> Iterator[Finding]:
    """Report credentials that are too large for systemd, and a CRL that is one."""
    size = sum(os.stat(path).st_size for path in credentials.values())
    if size > MAX_CREDENTIALS_BYTES:
        text = (
            f"the credentials of {unit} have {size} bytes together, and systemd allows"
            f" {MAX_CREDENTIALS_BYTES}, so it cannot start (243/CREDENTIALS)"
        )
        yield Finding(FAULT, text, FILES, by_hand=True)
    elif tls.CRL in credentials:
        text = (
            f"the CRL is a credential of {unit}: a revocation takes effect minutes later, with the next"
            f" listener, and the CRL may not grow beyond {MAX_CREDENTIALS_BYTES} bytes"
        )
        yield Finding(NOTE, text, FILES, by_hand=True)


def _node_key(settings: Mapping[str, str], key: str) -> Finding:
    """Report whose key the listener holds. The node's own is the usual setup, so that is no note."""
    node_key = settings.get("hostprivkey")
    if node_key is None or os.path.realpath(key) == os.path.realpath(node_key):
        text = (
            f"the listener holds {key}: an attacker who takes over the listener can impersonate this node "
            "and fetch its catalog (puppet-twitch.service(8), TLS, says how to use a separate certificate)"
        )
        return Finding(GOOD, text)
    return Finding(GOOD, f"the listener has a key of its own, {key}")


def _verification(
    config: Config, paths: tls.Files, server: tls_context.Trust, refresh: Fix
) -> Iterator[Finding]:
    """Verify the certificate as a node of the same CA would, in a handshake with ourselves."""
    try:
        shown = tls_context.verify_own(server.context, paths, config)
    except ssl.SSLError as error:
        cause = tls.failure(error)
        text = f"TLS: {paths.cert} fails verification with this CA and CRL: {cause}"
        if cause == CRL_EXPIRED:
            yield Finding(FAULT, text, *refresh)
        else:
            yield Finding(FAULT, text, FIXES.get(cause, SET_UP), by_hand=True)
        return
    yield from expiry.check(f"certificate {paths.cert}", shown.get("notAfter"), RENEW)
    for authority in server.context.get_ca_certs():
        name = " ".join(tls.common_names(authority))
        yield from expiry.check(f"CA {name!r}", authority.get("notAfter"), RENEW_CA)


def _puppet_settings(config: Config) -> dict[str, str]:
    """Return the settings of Puppet's that matter here; none if Puppet cannot be asked."""
    try:
        path = puppet.find(config.puppet_path)
    except PuppetError:
        return {}
    command = [path, "config", "print", "--color=false", "--section", "agent", *SETTINGS]
    lines = (systemd.output(command) or "").splitlines()
    return {
        name.strip(): value.strip() for name, found, value in (line.partition("=") for line in lines) if found
    }
