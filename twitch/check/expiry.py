"""Until when a certificate or a CRL is valid."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator

from twitch.check.findings import FAULT, GOOD, NOTE, Finding

SOON_S = 30 * 86400
Fix = tuple[str, bool]  # as Finding has it, and whether it is by hand


def check(subject: str, expires: object, renew: str) -> Iterator[Finding]:
    """Report until when a file is valid; `expires` is `Nov 21 02:37:18 2031 GMT`, as OpenSSL prints it."""
    try:
        expires_s = ssl.cert_time_to_seconds(str(expires))
    except ValueError:
        text = f"the expiry date of the {subject} is unknown: OpenSSL prints {expires}"
        yield Finding(NOTE, text, "look at the file with openssl x509", by_hand=True)
        return
    yield validity(subject, expires_s, (renew, True))


def validity(subject: str, expires_s: float, fix: Fix) -> Finding:
    """Return whether a file is valid, will expire soon, or has expired; `expires_s` is in epoch seconds."""
    day = time.strftime("%Y-%m-%d", time.gmtime(expires_s))
    if expires_s < time.time():
        return Finding(FAULT, f"the {subject} expired on {day}", *fix)
    if expires_s < time.time() + SOON_S:
        return Finding(NOTE, f"the {subject} expires within a month, on {day}", *fix)
    return Finding(GOOD, f"the {subject} is valid until {day}")
