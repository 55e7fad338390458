"""TLS: the certificate, key, CA and CRL that systemd hands to the listener as credentials."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
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

# CREDENTIALS_TOTAL_SIZE_MAX of systemd, for all credentials of a unit together (seen with 252 and 257).
MAX_CREDENTIALS_BYTES = 1 << 20

# The sandbox hides these (ProtectHome=, PrivateTmp=).
HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")  # noqa: S108

SET_UP = "set up certificate, key, CA and CRL as /usr/share/doc/puppet-twitch/tls.conf describes"
FILES = "remove LoadCredential=ca: and LoadCredential=crl:, as in /usr/share/doc/puppet-twitch/tls.conf"
RENEW = (
    "for the node's own certificate: puppetserver ca clean --certname NODE on the server, then here puppet"
    " ssl clean and puppet ssl bootstrap; for another: puppetserver ca generate --certname NAME on the server"
)
RENEW_CA = "renew the CA on the puppetserver, then replace the file on this node"
FETCH = "puppet agent -t --crl_refresh_interval 1s"
REFRESH = f"set crl_refresh_interval = 1d in [agent] of puppet.conf; to fetch the CRL now: {FETCH}"
LEAF = "set [tls] revocation = leaf in puppet-twitch.conf, or add the CRL of every CA to the file"

# The error of a verification (X509_verify_cert_error_string(3)), and its fix.
FIXES = {
    "certificate has expired": RENEW,
    "certificate revoked": RENEW,
    "CRL has expired": REFRESH,
    "unable to get certificate CRL": LEAF,
}


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
            yield Finding(NOTE, text, "set [tls] enabled = yes in puppet-twitch.conf")
        return
    missing = [name for name in (tls.CERT, tls.KEY) if not os.path.exists(credentials.get(name, ""))]
    # A credential that is named and is not there keeps the unit from starting, whichever it is.
    missing += [
        name for name, path in credentials.items() if name not in missing and not os.path.exists(path)
    ]
    if missing:
        names = ", ".join(f"{name} ({credentials.get(name, 'no LoadCredential=')})" for name in missing)
        text = f"TLS: missing {names}, so {unit} cannot start, or answers 503"
        yield (None if credentials else _emptied(unit)) or Finding(FAULT, text, SET_UP)
        return
    yield from _size(credentials, unit)
    paths = tls.files(config, credentials)
    unreadable = [
        path
        for path in (paths.ca, paths.crl)
        if path and path not in credentials.values() and not _readable(path, unit)
    ]
    for path in unreadable:
        text = f"TLS: {path} does not exist, or the listener may not read it, so the port answers 503"
        yield Finding(FAULT, text, SET_UP)
    if unreadable:
        return
    try:
        server = tls.trust(config, paths)
    except ConfigError as error:
        yield Finding(FAULT, f"{error} ({', '.join(filter(None, paths))})", SET_UP)
        return
    yield Finding(GOOD, f"TLS is on with {paths.cert}; client certificates are {config.tls_client}")
    yield from _node_key(config, paths.key)
    yield from _verification(config, paths, server)
    yield from _revocation(config)
    if paths.crl:
        yield from _crl(config, paths.crl, server)
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
        yield Finding(FAULT, text, FILES)
    elif tls.CRL in credentials:
        text = (
            f"the CRL is a credential of {unit}: a revocation takes effect minutes later, with the next"
            f" listener, and the CRL may not grow beyond {MAX_CREDENTIALS_BYTES} bytes"
        )
        yield Finding(NOTE, text, FILES)


def _readable(path: str, unit: str) -> bool:
    """Return whether the listener's user may read a file, in the unit's own view of the file system."""
    account = systemd.account()
    if path.startswith(HIDDEN):
        return False
    if _may_read(path, "/", account):
        return True
    # Below a directory that is bound into an empty file system, the directories above it do not matter.
    return any(
        os.path.isdir(directory) and path.startswith(f"{directory}/") and _may_read(path, directory, account)
        for directory in _bound(unit)
    )


def _bound(unit: str) -> Iterator[str]:
    """Yield the directories that a unit sees at their own places, although not what is around them."""
    empty = [word.partition(":")[0] for word in systemd.show(unit, "TemporaryFileSystem").split()]
    for word in systemd.show(unit, "BindReadOnlyPaths").split():
        source, _, target = word.partition(":")
        target = target.partition(":")[0] or source
        if source == target and any(source.startswith(f"{directory}/") for directory in empty):
            yield source


def _may_read(path: str, below: str, account: systemd.Account) -> bool:
    """Return whether the user may read a file, if it may enter the directory `below`."""
    command = ["test", "-r", os.path.relpath(path, below)]
    try:
        # As the kernel decides it, access control lists included; chdir comes before the change of user.
        done = subprocess.run(
            command, cwd=below, user=account.user, group=account.group, extra_groups=[], check=False
        )
    except (OSError, LookupError, ValueError):
        return False
    return done.returncode == 0


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


def _verification(config: Config, paths: tls.Files, server: tls.Trust) -> Iterator[Finding]:
    """Verify the certificate as a node of the same CA would, in a handshake with ourselves."""
    try:
        shown = tls.verify_own(server.context, paths, config)
    except ssl.SSLError as error:
        cause = tls.failure(error)
        text = f"TLS: {paths.cert} fails verification with this CA and CRL: {cause}"
        yield Finding(FAULT, text, FIXES.get(cause, SET_UP))
        return
    yield from _expiry(f"certificate {paths.cert}", shown.get("notAfter"), RENEW)
    for authority in server.context.get_ca_certs():
        name = " ".join(tls.common_names(authority))
        yield from _expiry(f"CA {name!r}", authority.get("notAfter"), RENEW_CA)


def _revocation(config: Config) -> Iterator[Finding]:
    """Report which revocations count, and a listener that looks at fewer of them than Puppet."""
    ours = config.tls_revocation
    setting = _puppet_setting(config, "certificate_revocation")
    puppets = REVOCATION.get(setting or "")
    laxer = puppets is not None and STRICTNESS.index(ours) < STRICTNESS.index(puppets)
    if ours == "no":
        text = "[tls] revocation = no: a revoked client certificate is accepted"
    else:
        text = f"revocation is checked {IN_FORCE[ours]} ([tls] revocation = {ours})"
    if laxer:
        text += f"; Puppet checks more (certificate_revocation = {setting})"
    if laxer or ours == "no":
        yield Finding(NOTE, text, f"set [tls] revocation = {puppets if laxer else 'chain'}")
    else:
        yield Finding(GOOD, text)


def _crl(config: Config, path: str, server: tls.Trust) -> Iterator[Finding]:
    now_s = time.time()
    for one in server.crls:
        if one.expires_s is not None:
            yield _validity(f"CRL {path}", one.expires_s, REFRESH)
    age_s = now_s - os.stat(path).st_mtime
    revoked = sum(one.revocations() for one in server.crls)
    plural = "certificate is" if revoked == 1 else "certificates are"
    yield Finding(GOOD, f"the CRL {path} was fetched {_age(age_s)} ago; {revoked} {plural} revoked")
    if _puppet_setting(config, "crl_refresh_interval") == "":
        text = (
            f"Puppet never refreshes {path}: a certificate that is revoked from now on is still accepted here"
        )
        yield Finding(NOTE, text, REFRESH)
    elif age_s >= CRL_OLD_S:
        text = f"the CRL {path} is {_age(age_s)} old: certificates revoked since then are still accepted here"
        yield Finding(NOTE, text, REFRESH)


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
            yield Finding(NOTE, f"whether {path} has a CRL of every CA is unknown, because openssl fails",
                          "install openssl")  # fmt: skip
            return
        subject_hash, _, subject = shown.partition("\n")
        if subject_hash not in lists:
            text = f"{path} has no CRL of the CA with {subject}: no certificate of it is accepted"
            yield Finding(NOTE, text, LEAF)


def _blocks(path: str, label: str) -> list[str]:
    """Return the parts of a PEM file that have this label."""
    with open(path, encoding="ascii", errors="replace") as file:
        return re.findall(f"-----BEGIN {label}-----.*?-----END {label}-----", file.read(), re.DOTALL)


def _age(seconds: float) -> str:
    """Return an age in the largest unit of which there are at least two."""
    for unit, length_s in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length_s:
            return f"{int(seconds / length_s)} {unit}s"
    return "a minute" if seconds >= 60 else "less than a minute"


def _expiry(subject: str, expires: object, renew: str) -> Iterator[Finding]:
    """Report until when a file is valid; `expires` is `Nov 21 02:37:18 2031 GMT`, as OpenSSL prints it."""
    try:
        expires_s = ssl.cert_time_to_seconds(str(expires))
    except ValueError:
        text = f"the expiry date of the {subject} is unknown: OpenSSL prints {expires}"
        yield Finding(NOTE, text, "look at the file with openssl x509")
        return
    yield _validity(subject, expires_s, renew)


def _validity(subject: str, expires_s: float, renew: str) -> Finding:
    day = time.strftime("%Y-%m-%d", time.gmtime(expires_s))
    if expires_s < time.time():
        return Finding(FAULT, f"the {subject} expired on {day}", renew)
    if expires_s < time.time() + SOON_S:
        return Finding(NOTE, f"the {subject} expires within a month, on {day}", renew)
    return Finding(GOOD, f"the {subject} is valid until {day}")


def _puppet_setting(config: Config, name: str) -> Optional[str]:
    """Return a setting of Puppet's, or None if Puppet cannot be asked."""
    try:
        path = puppet.find(config.puppet_path)
    except PuppetError:
        return None
    return systemd.output([path, "config", "print", "--color=false", "--section", "agent", name])
