"""`puppet-twitch check`, the part about certificates: the files that systemd hands to the listener."""

from __future__ import annotations

import contextlib
import json
import os
import re
import ssl
import tempfile
import time
from collections.abc import Iterator
from typing import Optional

from twitch.check.findings import FAULT, GOOD, NOTE, Finding, output
from twitch.config import Config
from twitch.errors import ConfigError, PuppetError
from twitch.listener import tls
from twitch.root import puppet

SOON_S = 30 * 86400
# Puppet 8 refreshes its CRL daily; Puppet 7 only if crl_refresh_interval is set.
CRL_OLD_S = 30 * 86400

SEE = "see /usr/share/doc/puppet-twitch/tls.conf"
ON = "[tls] enabled = yes in puppet-twitch.conf"
RENEW = "puppetserver ca generate --certname …, or puppet ssl bootstrap after puppet ssl clean"
REFRESH = "crl_refresh_interval = 1d in [agent] of puppet.conf; the next run then fetches it"

# What a verification says (X509_verify_cert_error_string(3)), and what mends it.
MENDS = {
    "certificate has expired": RENEW,
    "certificate revoked": RENEW,
    "CRL has expired": REFRESH,
    "unable to get certificate CRL": "the credential crl must hold a CRL of every CA, intermediates too",
}


def certificates(settings: Config, unit: str) -> Iterator[Finding]:
    """Look at certificate, key, CA and CRL as the listener would get them."""
    paths = _credentials(unit)
    if not settings.tls:
        if paths:
            yield Finding(NOTE, "credentials are handed over, but TLS is off", ON)
        return
    missing = [name for name in tls.CREDENTIALS if not os.path.exists(paths.get(name, ""))]
    if missing:
        named = ", ".join(f"{name} ({paths.get(name, 'no LoadCredential=')})" for name in missing)
        yield Finding(FAULT, f"TLS: missing {named}; {unit} cannot start, or answers 503", SEE)
        return
    with tempfile.TemporaryDirectory() as directory:
        for name in tls.CREDENTIALS:
            os.symlink(paths[name], os.path.join(directory, name))
        try:
            server = tls.context(settings.tls_client, directory)
        except ConfigError as error:
            yield Finding(FAULT, f"{error} ({', '.join(paths[name] for name in tls.CREDENTIALS)})", SEE)
            return
    yield Finding(GOOD, f"TLS with {paths[tls.CERT]}; client certificates are {settings.tls_client}")
    key, own = paths[tls.KEY], _puppet_setting(settings, "hostprivkey")
    if own is None or os.path.realpath(key) == os.path.realpath(own):
        text = f"the listener holds {key}: who breaks into it can be this node, and fetch its catalog"
        yield Finding(NOTE, text, "a certificate of its own: puppetserver ca generate --certname twitch.NODE")
    yield from _verified(paths, server)
    yield from _crl(settings, paths[tls.CRL])


def _credentials(unit: str) -> dict[str, str]:
    """LoadCredential= as systemd understands it. `systemctl show` calls it [unprintable]."""
    name = unit.replace("@.", "@check.")
    escaped = re.sub("[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):02x}", name)
    path = f"/org/freedesktop/systemd1/unit/{escaped}"
    where = ["org.freedesktop.systemd1", path, "org.freedesktop.systemd1.Service", "LoadCredential"]
    told = output(["busctl", "--json=short", "get-property", *where])
    return dict(json.loads(told)["data"]) if told else {}


def _verified(paths: dict[str, str], server: ssl.SSLContext) -> Iterator[Finding]:
    """Shake hands with ourselves, and verify the certificate as a node of the same CA would."""
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
        why = getattr(error, "verify_message", "") or str(error.reason)
        mend = MENDS.get(why, SEE)
        yield Finding(FAULT, f"TLS: {paths[tls.CERT]} does not pass with this CA and CRL: {why}", mend)
        return
    yield from _until(f"certificate {paths[tls.CERT]}", dict(ends[0].getpeercert() or {}).get("notAfter"))
    for authority in client.get_ca_certs():
        name = " ".join(tls.common_names(authority))
        yield from _until(f"CA {name!r}", authority.get("notAfter"))


def _crl(settings: Config, path: str) -> Iterator[Finding]:
    with open(path, encoding="ascii", errors="replace") as file:
        lists = re.findall("-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", file.read(), re.DOTALL)
    for one in lists:
        told = output(["openssl", "crl", "-noout", "-nextupdate"], one)
        if told is None:
            yield Finding(NOTE, f"until when the CRL {path} is good cannot be told", "install openssl")
            break
        yield from _until(f"CRL {path}", told.partition("=")[2])
    days = int((time.time() - os.stat(path).st_mtime) / 86400)
    yield Finding(GOOD, f"the CRL {path} was fetched {days} days ago")
    interval = _puppet_setting(settings, "crl_refresh_interval")
    if interval == "":
        text = f"Puppet never refreshes {path}: who is revoked from now on is still let in here"
        yield Finding(NOTE, text, REFRESH)
    elif days * 86400 >= CRL_OLD_S:
        text = f"the CRL is {days} days old: who was revoked since is still let in"
        yield Finding(NOTE, text, REFRESH)


def _puppet_setting(settings: Config, name: str) -> Optional[str]:
    try:
        command = [puppet.find(settings.puppet_path), "config", "print", "--section", "agent"]
    except PuppetError:
        return None
    return output([*command, name])


def _until(what: str, end: object) -> Iterator[Finding]:
    """Say until when; `end` is `Nov 21 02:37:18 2031 GMT`, as OpenSSL has it."""
    try:
        end_s = ssl.cert_time_to_seconds(str(end))
    except ValueError:
        yield Finding(NOTE, f"until when the {what} is good cannot be told: {end}", "look at it with openssl")
        return
    day = time.strftime("%Y-%m-%d", time.gmtime(end_s))
    if end_s < time.time():
        yield Finding(FAULT, f"the {what} has expired on {day}", REFRESH if "CRL" in what else RENEW)
    elif end_s < time.time() + SOON_S:
        text = f"the {what} expires within a month, on {day}"
        yield Finding(NOTE, text, REFRESH if "CRL" in what else RENEW)
    else:
        yield Finding(GOOD, f"the {what} is good until {day}")
