"""The identity and the grants of a caller. Only the decisions: nothing is parsed or answered here."""

from __future__ import annotations

import functools
import ipaddress
import logging
import re
from collections.abc import Iterable
from typing import NamedTuple, Optional

from twitch.caller import Caller
from twitch.config import ENVIRONMENT, Config
from twitch.listener.exchange import HTTPError
from twitch.listener.tokens import Token, holder

log = logging.getLogger(__name__)

ANONYMOUS = "anonymous"

# RFC 6750. No other kind of Authorization is accepted.
CHALLENGE = ("WWW-Authenticate", 'Bearer realm="puppet-twitch"')
BEARER = r"(?i:bearer) +([A-Za-z0-9._~+/=-]{1,512})"


class Credentials(NamedTuple):
    """The credentials of a request, not checked yet."""

    authorization: Optional[str] = None
    certname: Optional[str] = None  # of a certificate that TLS has verified
    private: bool = False  # sent over TLS, or without leaving this machine


def identify(config: Config, tokens: tuple[Token, ...], address: str, credentials: Credentials) -> Caller:
    """Return the caller, with the grants of all credentials together.

    Of the lines for tokens, and of those for certificates, the most specific one applies; every caller
    has at least the grants of `anonymous`. Raises `HTTPError` for an invalid credential, because a client
    that sends one does not want to be anonymous.
    """
    names = []
    grants = set(config.grants[ANONYMOUS])
    if credentials.authorization is not None:
        names.append(f"token:{_token_name(config, tokens, credentials)}")
    if credentials.certname is not None:
        names.append(f"cert:{credentials.certname}")
    lines = [line for line in (most_specific(config.grants, name) for name in names) if line]
    for line in lines:
        grants.update(config.grants[line])
    name = " ".join(names) or ANONYMOUS
    log.debug("%s: lines of [access]: %s; grants: %s", name, [ANONYMOUS, *lines], sorted(grants))
    # A line without grants takes away what a pattern gives, such as from a certificate that was stolen. Its
    # caller is no more than an anonymous one.
    named = any(config.grants[line] for line in lines)
    return Caller(name, address, frozenset(grants), named=named)


def most_specific(callers: Iterable[str], name: str) -> Optional[str]:
    """Return the caller of [access] that applies to this name, or None.

    That is the name itself, else the matching pattern with the most literal characters.
    """
    kind = name.partition(":")[0] + ":"
    matching = [caller for caller in callers if caller.startswith(kind) and matches(caller, name)]
    return max(matching, key=_specificity, default=None)


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern matches a name; `*` is one or more characters.

    So `feature_*` does not match `feature_`. Each part between two stars is taken where it first occurs, so
    the time is linear. A regular expression with several stars takes exponential time for some long names.
    """
    first, *parts = pattern.split("*")
    if not parts:
        return pattern == name
    *parts, last = parts
    if not name.startswith(first):
        return False
    end = len(first)
    for part in parts:
        begin = name.find(part, end + 1)
        if begin < 0:
            return False
        end = begin + len(part)
    return len(name) - len(last) > end and name.endswith(last)


def is_address_accepted(config: Config, address: str) -> bool:
    """Return whether `[access] from` allows this address; False for anything else (a pipe has none)."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return config.networks is None or any(ip in network for network in config.networks)


def normalise(address: str) -> str:
    """Return the one spelling of an address that is matched and logged.

    On a dual-stack socket an IPv4 address appears as ::ffff:a.b.c.d, and a link-local one with an
    interface (`%eth0`), which is this machine's and says nothing about the client.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip)


@functools.lru_cache(maxsize=1024)
def group(address: str) -> str:
    """Return the network that counts as one client.

    An IPv4 address counts alone. An IPv6 address counts with its /64, because one client usually has all
    of it.
    """
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    except ValueError:
        return address


def missing_grant(
    caller: Caller, *, noop: bool, tags: tuple[str, ...], environment: Optional[str]
) -> Optional[str]:
    """Return the first grant that this caller lacks for such a run, or None if the run is allowed."""
    run = "noop" if noop else "trigger"
    if run not in caller.grants:
        return run
    if tags and "tags" not in caller.grants:
        return "tags"
    if environment is not None and not _may_use(caller, environment):
        return f"{ENVIRONMENT}{environment}"
    return None


def _token_name(config: Config, tokens: tuple[Token, ...], credentials: Credentials) -> str:
    if not (credentials.private or config.plaintext_tokens):
        # The token has already crossed the network. Say so, and do not let that become a habit.
        raise HTTPError(
            403,
            "This token was sent over plain HTTP and may have been intercepted: replace it. Use https, "
            "or set plaintext_tokens = yes in [access] of puppet-twitch.conf on the node",
            reason="token over plain HTTP",
        )
    bearer = re.fullmatch(BEARER, credentials.authorization or "")
    if not bearer:
        text = "The credential is not of the form Authorization: Bearer TOKEN"
        raise HTTPError(401, text, headers=(CHALLENGE,), reason="credential that is no token")
    # Without tokens there is nothing to compare, and no reason to load OpenSSL.
    name = holder(tokens, bearer[1]) if tokens else None
    if name is None:
        text = "The token is wrong or has expired"
        raise HTTPError(401, text, headers=(CHALLENGE,), reason="wrong or expired token")
    return name


def _specificity(pattern: str) -> tuple[bool, int, int, str]:
    literal = len(pattern) - pattern.count("*")
    return ("*" not in pattern, literal, len(pattern.partition("*")[0]), pattern)


def _may_use(caller: Caller, environment: str) -> bool:
    patterns = (grant[len(ENVIRONMENT) :] for grant in caller.grants if grant.startswith(ENVIRONMENT))
    return any(matches(pattern, environment) for pattern in patterns)
