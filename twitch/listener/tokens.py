"""`/etc/puppet-twitch/tokens`: the names of the tokens, and of each token only its SHA-256.

A line is `NAME SHA256 [EXPIRES]`. Several lines may have one name, so that a token can be replaced
without a moment in which neither the old nor the new one works. A token is 256 random bits, so it cannot
be guessed from its hash, and neither salt nor stretching is needed.

hashlib and hmac map OpenSSL, 3.7 MiB, so they are imported where a token is compared or made: a file
that holds only comments costs nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import NamedTuple, Optional

from twitch.config import TOKENS_FILE as TOKENS_FILE
from twitch.errors import ConfigError, UsageError

# The first character is no hyphen, because a command would take the name for an option.
NAME = r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}"
NAME_FORM = "1 to 64 letters, digits and _.- (not first)"
DIGEST = r"[0-9a-f]{64}"
FORM = "NAME SHA256 [YYYY-MM-DD]"

DAY_S = 86400
TOKEN_BYTES = 32


class Token(NamedTuple):
    """One line of the file."""

    name: str
    digest: str  # SHA-256 of the token, in hexadecimal
    expires: Optional[float]  # epoch seconds; from then on the token is refused


def load(path: str = TOKENS_FILE) -> tuple[Token, ...]:
    """Return the tokens in the file; none if there is no file. Raises `ConfigError`.

    The error never repeats a word of the file, which may be a token that was pasted there by mistake.
    """
    try:
        with open(path, encoding="ascii") as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        fix = "as root, puppet-twitch check says how to fix it"
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; {fix}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not ASCII at byte {error.start}") from error
    numbered = enumerate(lines, start=1)
    return tuple(
        _token(f"{path}: line {number}", line)
        for number, line in numbered
        if line.strip() and not line.lstrip().startswith("#")
    )


def holder(tokens: tuple[Token, ...], presented: str) -> Optional[str]:
    """Return the name of the presented token, or None if it is wrong or has expired.

    Every line is compared, and in constant time, so that the time of an answer says nothing about the file.
    """
    import hashlib
    import hmac

    digest = hashlib.sha256(presented.encode("utf-8", "replace")).hexdigest()
    now = time.time()
    name = None
    for token in tokens:
        matches = hmac.compare_digest(token.digest, digest)
        if matches and (token.expires is None or now < token.expires):
            name = token.name
    return name


def new(name: str, expires: Optional[str] = None) -> tuple[str, str]:
    """Return a new token, and its line for the file; raises `UsageError`."""
    import hashlib
    import secrets

    if not re.fullmatch(NAME, name):
        raise UsageError(f"{name!r} is not a valid token name: {NAME_FORM}")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    line = " ".join(filter(None, (name, hashlib.sha256(token.encode()).hexdigest(), expires)))
    if expires is not None:
        end = _end_of(expires)
        if end is None:
            raise UsageError(f"--expires: {expires!r} is not a day; write YYYY-MM-DD, such as 2030-12-31")
        if end <= time.time():
            raise UsageError(f"--expires: {expires} has passed")
    return token, line


def main(arguments: Sequence[str]) -> int:
    """Make a token, print it and its line for the file, and return the exit status.

    Raises `UsageError` with one line that says what is wrong.
    """
    from twitch.arguments import Parser  # argparse is 3 ms, which the listener does not need

    description = f"Make a new token. It is shown once, with the line for {TOKENS_FILE}."
    parser = Parser("token", description)
    parser.add_argument("name", metavar="NAME", help=f"of the token: {NAME_FORM}")
    parser.add_argument("--expires", metavar="YYYY-MM-DD", help="the last day of the token, in UTC")
    options = parser.parse_args(arguments)
    token, line = new(options.name, options.expires)
    print(f"The token, for its holder; it is not shown again:\n\n  {token}\n")
    print(f"The line for {TOKENS_FILE} (root:twitch, mode 640) on each node:\n\n  {line}")
    return 0


def _token(where: str, line: str) -> Token:
    words = line.split()
    if len(words) not in (2, 3):
        raise ConfigError(f"{where}: must be {FORM}")
    name, digest = words[:2]
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"{where}: the name must be {NAME_FORM}")
    if not re.fullmatch(DIGEST, digest):
        raise ConfigError(f"{where}: the second word must be a SHA-256 of 64 hexadecimal digits")
    expires = None
    if len(words) == 3:
        expires = _end_of(words[2])
        if expires is None:
            raise ConfigError(f"{where}: the third word must be a date, YYYY-MM-DD")
    return Token(name, digest, expires)


def _end_of(day: str) -> Optional[float]:
    """Return the epoch seconds at which a day ends in UTC: a token is good for the whole of its last day."""
    import calendar  # 2 ms, for a file with a date in it only

    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day):
            return calendar.timegm(time.strptime(day, "%Y-%m-%d")) + DAY_S
    except ValueError:
        pass
    return None
