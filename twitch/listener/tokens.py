"""`/etc/puppet-twitch/tokens`: who holds a token, known by its SHA-256 only.

A line is `NAME SHA256 [EXPIRES]`; several lines may have one name, so that a token can be replaced
without a moment in which neither works. A token is 256 random bits, so its plain hash cannot be
guessed backwards, and no salt or stretching is needed.

hashlib and hmac map OpenSSL, 3.7 MiB, so they are imported where a token is compared or made: a file
that holds only comments costs nothing.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple, Optional

from twitch.config import TOKENS_FILE as TOKENS_FILE
from twitch.errors import ConfigError, UsageError

# Not a hyphen first: `token --help` must not be a token.
NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}")
NAME_FORM = "1 to 64 letters, digits and _.- (not first)"
DIGEST = re.compile(r"[0-9a-f]{64}")
FORM = "NAME SHA256 [YYYY-MM-DD]"

DAY_S = 86400
TOKEN_BYTES = 32


class Token(NamedTuple):
    """One line of the file."""

    name: str
    digest: str  # SHA-256 of the token, in hexadecimal
    expires: Optional[float]  # epoch seconds from which on it is refused


def load(path: str = TOKENS_FILE) -> tuple[Token, ...]:
    """Read and check the file; a missing one holds no tokens. Raises `ConfigError`.

    Its texts never repeat what stands in the file: it may be a token that somebody pasted there.
    """
    try:
        with open(path, encoding="ascii") as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        mend = "as root, puppet-twitch check says how to mend it"
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; {mend}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not ASCII at byte {error.start}") from error
    numbered = enumerate(lines, start=1)
    return tuple(
        _token(f"{path}: line {number}", line)
        for number, line in numbered
        if line.strip() and not line.lstrip().startswith("#")
    )


def holder(tokens: tuple[Token, ...], presented: str) -> Optional[str]:
    """Return who holds this token, or None for a wrong or expired one.

    Every line is compared, in constant time, so that the time taken tells nothing of what is there.
    """
    import hashlib
    import hmac

    digest = hashlib.sha256(presented.encode("utf-8", "replace")).hexdigest()
    now = time.time()
    found = None
    for token in tokens:
        matches = hmac.compare_digest(token.digest, digest)
        if matches and (token.expires is None or now < token.expires):
            found = token.name
    return found


def new(name: str, expires: Optional[str] = None) -> tuple[str, str]:
    """Return a new token, and the line for the file; raises `UsageError`."""
    import hashlib
    import secrets

    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a token: {NAME_FORM}")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    line = " ".join(filter(None, (name, hashlib.sha256(token.encode()).hexdigest(), expires)))
    try:
        end = _token("this token", line).expires
        if end is not None and end <= time.time():
            raise ConfigError(f"{expires} has passed")
    except ConfigError as error:
        raise UsageError(str(error)) from error
    return token, line


def _token(where: str, line: str) -> Token:
    words = line.split()
    if len(words) not in (2, 3):
        raise ConfigError(f"{where}: must be {FORM}")
    name, digest, expires = (*words, None)[:3]
    if not NAME.fullmatch(name or ""):
        raise ConfigError(f"{where}: the name must be {NAME_FORM}")
    if not DIGEST.fullmatch(digest or ""):
        raise ConfigError(f"{where}: the second word must be a SHA-256 of 64 hexadecimal digits")
    end = None
    if expires is not None:
        end = _end_of(expires)
        if end is None:
            raise ConfigError(f"{where}: the third word must be a date, YYYY-MM-DD")
    return Token(str(name), str(digest), end)


def _end_of(day: str) -> Optional[float]:
    """Epoch seconds of the end of a day in UTC: a token is good on the day that is written."""
    import calendar  # 2 ms, for a file with a date in it only

    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day):
            return calendar.timegm(time.strptime(day, "%Y-%m-%d")) + DAY_S
    except ValueError:
        pass
    return None
