"""`puppet-twitch check`, the part about certificates: the files that systemd hands to the listener."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Optional

from twitch import tls
from twitch.config import Config
from twitch.errors import ConfigError
from twitch.findings import FAULT, GOOD, NOTE, Finding

LISTENER = "puppet-twitch.service"
SOON_S = 30 * 86400
# Puppet 8 refreshes its CRL daily; Puppet 7 only if crl_refresh_interval is set.
CRL_OLD_S = 30 * 86400

MEND = "see /usr/share/doc/puppet-twitch/tls.conf"


def certificates(settings: Config) -> Iterator[Finding]:
    """Look at certificate, key, CA and CRL as the listener would get them."""
    paths = _credentials()
    if not settings.tls:
        if paths:
            yield Finding(NOTE, "credentials are handed over, but TLS is off", "[tls] enabled = yes")
        return
    missing = [name for name in tls.CREDENTIALS if not os.path.exists(paths.get(name, ""))]
    if missing:
        named = ", ".join(f"{name} ({paths.get(name, 'no LoadCredential=')})" for name in missing)
        yield Finding(FAULT, f"TLS: missing {named}; the listener cannot start", MEND)
        return
    with tempfile.TemporaryDirectory() as directory:
        for name in tls.CREDENTIALS:
            os.symlink(paths[name], os.path.join(directory, name))
        try:
            tls.context(settings.tls_client, directory)
        except ConfigError as error:
            yield Finding(FAULT, str(error), MEND)
            return
    yield Finding(GOOD, f"TLS with {paths[tls.CERT]}; client certificates are {settings.tls_client}")
    yield Finding(NOTE, f"the listener holds {paths[tls.KEY]}: who breaks it can be that name to the server")
    yield from _dates("certificate", paths[tls.CERT], ["openssl", "x509", "-noout", "-enddate"])
    yield from _dates("CA", paths[tls.CA], ["openssl", "x509", "-noout", "-enddate"])
    yield from _dates("CRL", paths[tls.CRL], ["openssl", "crl", "-noout", "-nextupdate"])
    age_s = time.time() - os.stat(paths[tls.CRL]).st_mtime
    if age_s > CRL_OLD_S:
        text = f"the CRL is {age_s / 86400:.0f} days old: who was revoked since is still let in"
        yield Finding(NOTE, text, "crl_refresh_interval = 1d in [agent] of puppet.conf (Puppet 7 has none)")


def _credentials() -> dict[str, str]:
    command = ["systemctl", "show", "-P", "LoadCredential", LISTENER]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return {}
    # systemd 252 prints `cert:/path key:/path`, and each on a line of its own in 257.
    return {name: path for name, _, path in (word.partition(":") for word in shown.split())}


def _dates(what: str, path: str, command: list[str]) -> Iterator[Finding]:
    end = _date([*command, "-in", path])
    if end is None:
        yield Finding(NOTE, f"until when the {what} {path} is good cannot be told", "install openssl")
    elif end < time.time():
        yield Finding(FAULT, f"the {what} {path} has expired", "puppet ssl, or puppetserver ca")
    elif end < time.time() + SOON_S:
        yield Finding(NOTE, f"the {what} {path} expires within a month", "puppet ssl, or puppetserver ca")


def _date(command: list[str]) -> Optional[float]:
    """Epoch seconds of `notAfter=Nov 21 02:37:18 2031 GMT`, as openssl prints it."""
    try:
        printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        month, day, clock, year, _ = printed.strip().partition("=")[2].split()
        return parsedate_to_datetime(f"{day} {month} {year} {clock} +0000").timestamp()
    except (FileNotFoundError, ValueError):
        return None
