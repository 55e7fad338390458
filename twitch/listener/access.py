"""Who is calling, and what that caller may do. It decides; it does not parse or answer."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple, Optional

from twitch.config import Config
from twitch.errors import HTTPError
from twitch.listener.tokens import Token, holder

ANONYMOUS = "anonymous"

# RFC 6750: the only kind of Authorization that is taken here.
CHALLENGE = ("WWW-Authenticate", 'Bearer realm="puppet-twitch"')
BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]{1,512})", re.IGNORECASE)


class Caller(NamedTuple):
    """Somebody with an address, a name, and the grants of that name.

    `named` are those for whom [access] has a line. The others may bring a token or, as every node of
    a fleet can, a certificate: they are still anonymous, and are shown states and verdicts only.
    """

    name: str
    address: str
    grants: frozenset[str]
    named: bool = False


class Credentials(NamedTuple):
    """What a request shows of its sender."""

    authorization: Optional[str] = None
    certname: Optional[str] = None  # of a certificate that TLS has verified
    private: bool = False  # over TLS, or without leaving this machine


def identify(config: Config, tokens: tuple[Token, ...], address: str, shown: Credentials) -> Caller:
    """Return who is calling, with the grants of all credentials together.

    Within a kind the most specific name counts, and everyone has at least what anonymous has.
    Raises `HTTPError` for a credential that is not good: who shows one does not want to be anonymous.
    """
    names = []
    grants = set(config.grants[ANONYMOUS])
    if shown.authorization is not None:
        names.append(f"token:{_token_name(config, tokens, shown)}")
    if shown.certname is not None:
        names.append(f"cert:{shown.certname}")
    lines = [line for line in (most_specific(config.grants, name) for name in names) if line]
    for line in lines:
        grants.update(config.grants[line])
    return Caller(" ".join(names) or ANONYMOUS, address, frozenset(grants), named=bool(lines))


def most_specific(callers: Iterable[str], name: str) -> Optional[str]:
    """Return the caller of [access] that means this name: itself, or else the pattern that says most."""
    kind = name.partition(":")[0] + ":"
    found = [caller for caller in callers if caller.startswith(kind) and matches(caller, name)]
    return max(found, key=_specificity, default=None)


def matches(pattern: str, name: str) -> bool:
    """`*` stands for one or more characters: `feature_*` is not `feature_` itself.

    Part by part, each as early as it can be: as a regular expression, several stars would try every way
    to share a long name.
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


def welcome(config: Config, address: str) -> bool:
    """Whether `[access] from` lets this address in. What is no address (a pipe) is not let in."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in config.networks)


def normalise(address: str) -> str:
    """One spelling for an address, for matching and for logs.

    On a dual-stack socket an IPv4 client appears as ::ffff:a.b.c.d, and a link-local one carries
    its interface (`%eth0`), which names a place here, not the caller.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip)


@functools.lru_cache(maxsize=1024)
def group(address: str) -> str:
    """Whoever holds an IPv6 address usually holds its /64, so that counts as one."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    except ValueError:
        return address


def missing_grant(
    caller: Caller, *, noop: bool, tags: tuple[str, ...], environment: Optional[str]
) -> Optional[str]:
    """Return the first grant that this caller lacks for such a run, or None if it may have it."""
    run = "noop" if noop else "trigger"
    if run not in caller.grants:
        return run
    if tags and "tags" not in caller.grants:
        return "tags"
    if environment is not None and not _may_use(caller, environment):
        return f"environment={environment}"
    return None


def _token_name(config: Config, tokens: tuple[Token, ...], shown: Credentials) -> str:
    if not (shown.private or config.plaintext_tokens):
        # It has been on the wire by now; the least is to say so, and not to make a habit of it.
        raise HTTPError(
            403,
            "A token over plain HTTP can be read by anybody on the way: consider this one lost. Use https, "
            "or set plaintext_tokens = yes in [access] of puppet-twitch.conf on the node",
        )
    bearer = BEARER.fullmatch(shown.authorization or "")
    if not bearer:
        raise HTTPError(
            401, "The credential is not of the form Authorization: Bearer TOKEN", headers=(CHALLENGE,)
        )
    # Without tokens nothing is compared, and OpenSSL not needed.
    name = holder(tokens, bearer[1]) if tokens else None
    if name is None:
        raise HTTPError(401, "The token is wrong or has expired", headers=(CHALLENGE,))
    return name


def _specificity(pattern: str) -> tuple[bool, int, int, str]:
    literal = len(pattern) - pattern.count("*")
    return ("*" not in pattern, literal, len(pattern.partition("*")[0]), pattern)


def _may_use(caller: Caller, environment: str) -> bool:
    patterns = (grant.partition("=")[2] for grant in caller.grants if grant.startswith("environment="))
    return any(matches(pattern, environment) for pattern in patterns)
