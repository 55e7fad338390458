"""The file of tokens: its permissions, and tokens that have expired or soon will."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from typing import Optional

from twitch.check import files
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.systemd import Account
from twitch.config import TOKENS_FILE
from twitch.errors import ConfigError
from twitch.listener.tokens import Token
from twitch.listener.tokens import load as load_tokens

SOON_S = 14 * 86400


def check(account: Account) -> Generator[Finding, None, Optional[tuple[Token, ...]]]:
    """Report on the file of tokens; return the tokens, or None if the file is invalid."""
    yield from files.permissions(TOKENS_FILE, account, secret=True)
    tokens = yield from read()
    if tokens is not None and os.path.exists(TOKENS_FILE):
        yield from expiry(tokens)
        names = ", ".join(sorted({token.name for token in tokens}))
        count = f"{len(tokens)} token{'' if len(tokens) == 1 else 's'}"
        yield Finding(GOOD, f"{TOKENS_FILE} has {count}{f': {names}' if names else ''}")
    return tokens


def read() -> Generator[Finding, None, Optional[tuple[Token, ...]]]:
    """Report an invalid file of tokens; return the tokens, or None if the file is invalid."""
    try:
        return load_tokens()
    except ConfigError as error:
        yield Finding(FAULT, str(error), files.INVALID_FIX, by_hand=True)
        return None


def expiry(tokens: tuple[Token, ...]) -> Iterator[Finding]:
    """Report tokens that have expired or expire soon."""
    now = time.time()
    for token in tokens:
        if token.expires is not None and token.expires <= now:
            text = f"{TOKENS_FILE}: a token named {token.name} has expired"
            fix = f"replace its line with the line of puppet-twitch token {token.name}, or remove its line"
            yield Finding(NOTE, text, fix, by_hand=True)
        elif token.expires is not None and token.expires < now + SOON_S:
            text = f"{TOKENS_FILE}: a token named {token.name} expires within two weeks"
            fix = (
                f"add the line of puppet-twitch token {token.name}, hand out the new token, "
                "then remove the old line"
            )
            yield Finding(NOTE, text, fix, by_hand=True)
