"""TLS: the certificate, key, CA and CRL that systemd hands to the listener as credentials."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Optional

from twitch.check import reading, systemd
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import Config
from twitch.errors import ConfigError, PuppetError
from twitch.listener import tls
from twitch.root import puppet

SOON_S = 30 * 86400
# Puppet 8 refreshes its CRL daily; Puppet 7 only if crl_refresh_interval is set.
CRL_OLD_S = 30 * 86400

# CREDENTIALS_TOTAL_SIZE_MAX of systemd, for all credentials of a unit together (seen with 252 and 257).
MAX_CREDENTIALS_BYTES = 1 << 20

SET_UP = "set up certificate, key, CA and CRL as /usr/share/puppet-twitch/tls.conf describes"
FILES = "remove LoadCredential=ca: and LoadCredential=crl:, as in /usr/share/puppet-twitch/tls.conf"
RENEW = (
    "for the node's own certificate: puppetserver ca clean --certname NODE on the server, then here puppet"
    " ssl clean and puppet ssl bootstrap; for another: puppetserver ca generate --certname NAME on the server"
)
RENEW_CA = "renew the CA on the puppetserver, then replace the file on this node"
# The first for the future, the others for now. With the present CRL, Puppet would ask for a newer one only
# (If-Modified-Since), and would not trust the server while it has expired; without one it fetches it, without
# a run, and also while the agent is disabled (seen with 7.23 and 8.10).
REFRESH = (
    "{puppet} config set --section agent crl_refresh_interval 1d; mv {crl} {crl}.old; "
    "{puppet} ssl bootstrap --waitforcert 0 || mv {crl}.old {crl}"
)
REPLACE = "{crl} is not Puppet's own CRL ({own}): replace it with a fresh one, or let [tls] crl name Puppet's"
LEAF = "set [tls] revocation = leaf in puppet-twitch.conf, or add the CRL of every CA to the file"

# The error of a verification (X509_verify_cert_error_string(3)), and its fix by hand.
FIXES = {
    "certificate has expired": RENEW,
    "certificate revoked": RENEW,
    "unable to get certificate CRL": LEAF,
}
CRL_EXPIRED = "CRL has expired"
SETTINGS = ("hostprivkey", "hostcrl", "certificate_revocation", "crl_refresh_interval")
Fix = tuple[str, bool]  # and whether it is by hand

# Puppet's certificate_revocation -> [tls] revocation.
REVOCATION = {"chain": "chain", "true": "chain", "leaf": "leaf", "false": "no"}
STRICTNESS = ("no", "leaf", "chain")
IN_FORCE = {
    "chain": "of a client's certificate and of the CAs above it",
    "leaf": "of a client's certificate, but not of the CAs above it",
}


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
        server = tls.trust(config, paths)
    except ConfigError as error:
        yield Finding(FAULT, f"{error} ({', '.join(filter(None, paths))})", SET_UP, by_hand=True)
        return
    yield Finding(GOOD, f"TLS is on with {paths.cert}; client certificates are {config.tls_client}")
    settings = _puppet_settings(config)
    refresh = _refresh(config, settings, paths.crl or "")
    yield _node_key(settings, paths.key)
    yield from _verification(config, paths, server, refresh)
    yield _revocation(config, settings)
    if paths.crl:
        yield from _crl(settings, paths.crl, server, refresh)
        yield from _complete(config, paths, paths.crl)


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
            "and fetch its catalog (README, TLS, says how to use a separate certificate)"
        )
        return Finding(GOOD, text)
    return Finding(GOOD, f"the listener has a key of its own, {key}")


def _verification(config: Config, paths: tls.Files, server: tls.Trust, refresh: Fix) -> Iterator[Finding]:
    """Verify the certificate as a node of the same CA would, in a handshake with ourselves."""
    try:
        shown = tls.verify_own(server.context, paths, config)
    except ssl.SSLError as error:
        cause = tls.failure(error)
        text = f"TLS: {paths.cert} fails verification with this CA and CRL: {cause}"
        if cause == CRL_EXPIRED:
            yield Finding(FAULT, text, *refresh)
        else:
            yield Finding(FAULT, text, FIXES.get(cause, SET_UP), by_hand=True)
        return
    yield from _expiry(f"certificate {paths.cert}", shown.get("notAfter"), RENEW)
    for authority in server.context.get_ca_certs():
        name = " ".join(tls.common_names(authority))
        yield from _expiry(f"CA {name!r}", authority.get("notAfter"), RENEW_CA)


def _revocation(config: Config, settings: Mapping[str, str]) -> Finding:
    """Report which revocations count, and a listener that looks at fewer of them than Puppet."""
    ours = config.tls_revocation
    setting = settings.get("certificate_revocation")
    puppets = REVOCATION.get(setting or "")
    laxer = puppets is not None and STRICTNESS.index(ours) < STRICTNESS.index(puppets)
    if ours == "no":
        text = "[tls] revocation = no: a revoked client certificate is accepted"
    else:
        text = f"revocation is checked {IN_FORCE[ours]} ([tls] revocation = {ours})"
    if laxer:
        text += f"; Puppet checks more (certificate_revocation = {setting})"
    if laxer or ours == "no":
        fix = f"set [tls] revocation = {puppets if laxer else 'chain'}"
        return Finding(NOTE, text, fix, by_hand=True)
    return Finding(GOOD, text)


def _crl(settings: Mapping[str, str], path: str, server: tls.Trust, refresh: Fix) -> Iterator[Finding]:
    now_s = time.time()
    for one in server.crls:
        if one.expires_s is not None:
            yield _validity(f"CRL {path}", one.expires_s, refresh)
    age_s = now_s - os.stat(path).st_mtime
    revoked = sum(one.revocations() for one in server.crls)
    plural = "certificate is" if revoked == 1 else "certificates are"
    text = f"the CRL {path} was fetched {_age(age_s)} ago; {revoked} {plural} revoked"
    yield Finding(GOOD, f"{text}. One that was revoked on the server since then is still accepted here")
    if settings.get("crl_refresh_interval") == "":
        text = (
            f"Puppet never refreshes {path}: a certificate that is revoked from now on is still accepted here"
        )
        yield Finding(NOTE, text, *refresh)
    elif age_s >= CRL_OLD_S:
        text = f"the CRL {path} is {_age(age_s)} old: certificates revoked since then are still accepted here"
        yield Finding(NOTE, text, *refresh)


def _refresh(config: Config, settings: Mapping[str, str], crl: str) -> Fix:
    """Return the fix for a CRL that is too old, and whether it is by hand."""
    own = settings.get("hostcrl")
    if own is not None and os.path.realpath(own) != os.path.realpath(crl):
        return REPLACE.format(crl=crl, own=own), True
    command = "puppet"
    with contextlib.suppress(PuppetError):
        command = puppet.find(config.puppet_path)
    return REFRESH.format(puppet=command, crl=crl), False


def _complete(config: Config, paths: tls.Files, path: str) -> Iterator[Finding]:
    """Report CAs without a CRL, whose certificates are refused although nobody has revoked them."""
    if config.tls_revocation != "chain":
        return
    lists = {
        systemd.output(["openssl", "crl", "-noout", "-hash"], text) for text in _blocks(path, "X509 CRL")
    }
    for text in _blocks(paths.ca, "CERTIFICATE"):
        shown = systemd.output(["openssl", "x509", "-noout", "-subject_hash", "-subject"], text)
        if shown is None or None in lists:
            text = f"whether {path} has a CRL of every CA is unknown, because openssl fails"
            yield Finding(NOTE, text, "install openssl", by_hand=True)
            return
        subject_hash, _, subject = shown.partition("\n")
        if subject_hash not in lists:
            text = f"{path} has no CRL of the CA with {subject}: no certificate of it is accepted"
            yield Finding(NOTE, text, LEAF, by_hand=True)


def _blocks(path: str, label: str) -> list[str]:
    """Return the parts of a PEM file that have this label."""
    with open(path, encoding="ascii", errors="replace") as file:
        return re.findall(f"-----BEGIN {label}-----.*?-----END {label}-----", file.read(), re.DOTALL)


def _age(seconds: float) -> str:
    """Return an age in two units, so that none hides much of it: 2 days and 23 hours, for instance."""
    minutes = int(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    days, hours = minutes // 1440, minutes // 60 % 24
    parts = ((days, "day"), (hours, "hour"), (minutes % 60, "minute"))
    words = [f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts if number]
    # A smaller unit that does not follow at once (2 days and 5 minutes) says nothing.
    return " and ".join(words[: 2 if hours or not days else 1])


def _expiry(subject: str, expires: object, renew: str) -> Iterator[Finding]:
    """Report until when a file is valid; `expires` is `Nov 21 02:37:18 2031 GMT`, as OpenSSL prints it."""
    try:
        expires_s = ssl.cert_time_to_seconds(str(expires))
    except ValueError:
        text = f"the expiry date of the {subject} is unknown: OpenSSL prints {expires}"
        yield Finding(NOTE, text, "look at the file with openssl x509", by_hand=True)
        return
    yield _validity(subject, expires_s, (renew, True))


def _validity(subject: str, expires_s: float, fix: Fix) -> Finding:
    day = time.strftime("%Y-%m-%d", time.gmtime(expires_s))
    if expires_s < time.time():
        return Finding(FAULT, f"the {subject} expired on {day}", *fix)
    if expires_s < time.time() + SOON_S:
        return Finding(NOTE, f"the {subject} expires within a month, on {day}", *fix)
    return Finding(GOOD, f"the {subject} is valid until {day}")


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
