"""Who is calling, and what that caller may do. It decides; it does not parse or answer."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple, Optional

from twitch.config import Config

ANONYMOUS = "anonymous"


class Caller(NamedTuple):
    """Somebody with an address, a name, and the grants of that name."""

    name: str
    address: str
    grants: frozenset[str]

    @property
    def named(self) -> bool:
        """Anonymous callers are shown states and verdicts; reasons and texts are for named ones."""
        return self.name != ANONYMOUS


def identify(config: Config, address: str) -> Caller:
    """Everyone has at least what anonymous has."""
    return Caller(ANONYMOUS, address, frozenset(config.grants[ANONYMOUS]))


def welcome(config: Config, address: str) -> bool:
    """Whether `[access] from` lets this address in. What is no address (a pipe) is not let in."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in config.networks)


def normalise(address: str) -> str:
    """One spelling for an address, for matching and for logs.

    On a dual-stack socket an IPv4 client appears as ::ffff:a.b.c.d,
    and a link-local one carries its interface (`%eth0`), which names a place here, not the caller.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip)


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


def _may_use(caller: Caller, environment: str) -> bool:
    patterns = (grant.partition("=")[2] for grant in caller.grants if grant.startswith("environment="))
    return any(_matches(pattern, environment) for pattern in patterns)


def _matches(pattern: str, name: str) -> bool:
    """`*` stands for one or more characters of a name: `feature_*` is not `feature_` itself."""
    expression = ".+".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, name) is not None
