"""The CRL: which revocations are looked up, how old the file is, and whether it has the list of every CA."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping

from twitch.check import expiry, systemd
from twitch.check.expiry import Fix
from twitch.check.findings import GOOD, NOTE, Finding
from twitch.config import Config
from twitch.errors import PuppetError
from twitch.listener import tls, tls_context
from twitch.root import puppet

# Puppet 8 refreshes its CRL daily; Puppet 7 only if crl_refresh_interval is set.
CRL_OLD_S = 30 * 86400

# The first for the future, the others for now. With the present CRL, Puppet would ask for a newer one only
# (If-Modified-Since), and would not trust the server while it has expired; without one it fetches it, without
# a run, and also while the agent is disabled (seen with 7.23 and 8.10).
REFRESH = (
    "{puppet} config set --section agent crl_refresh_interval 1d; mv {crl} {crl}.old; "
    "{puppet} ssl bootstrap --waitforcert 0 || mv {crl}.old {crl}"
)
REPLACE = "{crl} is not Puppet's own CRL ({own}): replace it with a fresh one, or let [tls] crl name Puppet's"
LEAF = "set [tls] revocation = leaf in puppet-twitch.conf, or add the CRL of every CA to the file"

# Puppet's certificate_revocation -> [tls] revocation.
REVOCATION = {"chain": "chain", "true": "chain", "leaf": "leaf", "false": "no"}
STRICTNESS = ("no", "leaf", "chain")
IN_FORCE = {
    "chain": "of a client's certificate and of the CAs above it",
    "leaf": "of a client's certificate, but not of the CAs above it",
}


def in_force(config: Config, settings: Mapping[str, str]) -> Finding:
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


def check(settings: Mapping[str, str], path: str, server: tls_context.Trust, fix: Fix) -> Iterator[Finding]:
    """Report until when the lists are valid, how old the file is, and how many certificates it revokes."""
    now_s = time.time()
    for one in server.crls:
        if one.expires_s is not None:
            yield expiry.validity(f"CRL {path}", one.expires_s, fix)
    age_s = now_s - os.stat(path).st_mtime
    revoked = sum(one.revocations() for one in server.crls)
    plural = "certificate is" if revoked == 1 else "certificates are"
    text = f"the CRL {path} was fetched {age(age_s)} ago; {revoked} {plural} revoked"
    yield Finding(GOOD, f"{text}. One that was revoked on the server since then is still accepted here")
    if settings.get("crl_refresh_interval") == "":
        text = (
            f"Puppet never refreshes {path}: a certificate that is revoked from now on is still accepted here"
        )
        yield Finding(NOTE, text, *fix)
    elif age_s >= CRL_OLD_S:
        text = f"the CRL {path} is {age(age_s)} old: certificates revoked since then are still accepted here"
        yield Finding(NOTE, text, *fix)


def refresh(config: Config, settings: Mapping[str, str], crl: str) -> Fix:
    """Return the fix for a CRL that is too old, and whether it is by hand."""
    own = settings.get("hostcrl")
    if own is not None and os.path.realpath(own) != os.path.realpath(crl):
        return REPLACE.format(crl=crl, own=own), True
    command = "puppet"
    with contextlib.suppress(PuppetError):
        command = puppet.find(config.puppet_path)
    return REFRESH.format(puppet=command, crl=crl), False


def complete(config: Config, paths: tls.Files, path: str) -> Iterator[Finding]:
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


def age(seconds: float) -> str:
    """Return an age in two units, so that none hides much of it: 2 days and 23 hours, for instance."""
    minutes = int(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    days, hours = minutes // 1440, minutes // 60 % 24
    parts = ((days, "day"), (hours, "hour"), (minutes % 60, "minute"))
    words = [f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts if number]
    # A smaller unit that does not follow at once (2 days and 5 minutes) says nothing.
    return " and ".join(words[: 2 if hours or not days else 1])
