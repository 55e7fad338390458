"""Callers, addresses and grants: no combination of grants allows more than the configuration says."""

from __future__ import annotations

import ipaddress
import re
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch import messages
from twitch.caller import Caller
from twitch.config import GRANTS, Config
from twitch.listener import access
from twitch.listener.access import Credentials

# The grants without a pattern.
WORDS = [grant for grant in GRANTS if grant != "environment"]

NOTHING: dict[str, object] = {"noop": False, "tags": (), "environment": None}


def caller(*grants: str) -> Caller:
    return Caller("anonymous", "192.0.2.7", frozenset(grants))


def missing(
    grants: tuple[str, ...],
    *,
    noop: bool = False,
    tags: tuple[str, ...] = (),
    environment: Optional[str] = None,
) -> Optional[str]:
    return access.missing_grant(caller(*grants), noop=noop, tags=tags, environment=environment)


# ---- callers and addresses


def test_caller_without_a_credential_has_the_grants_of_anonymous() -> None:
    config = Config(grants={"anonymous": ("trigger", "tags")})
    caller = access.identify(config, (), "::1", Credentials())
    assert caller == Caller("anonymous", "::1", frozenset(("trigger", "tags")))
    assert not caller.named
    assert not Caller("token:deploy", "::1", frozenset()).named  # unless a line of [access] matches


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        pytest.param({"cert:*": ("trigger",)}, True, id="line-with-grants"),
        pytest.param({"cert:*": ("trigger",), "cert:stolen": ()}, False, id="line-without-grants"),
        pytest.param({}, False, id="no-line"),
    ],
)
def test_caller_is_named_if_its_line_has_grants(lines: dict[str, tuple[str, ...]], named: bool) -> None:
    config = Config(grants={"anonymous": ("status",), **lines})
    caller = access.identify(config, (), "::1", Credentials(certname="stolen"))
    assert (caller.name, caller.named) == ("cert:stolen", named)


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        pytest.param(["10.0.0.0/8"], "10.255.0.1", True, id="inside"),
        pytest.param(["10.0.0.0/8"], "11.0.0.1", False, id="outside"),
        pytest.param(["10.0.0.0/8", "192.0.2.7/32"], "192.0.2.7", True, id="in-the-second"),
        pytest.param(["0.0.0.0/0"], "::1", False, id="ipv6-is-not-in-ipv4"),
        pytest.param(["::/0"], "192.0.2.7", False, id="ipv4-is-not-in-ipv6"),
        pytest.param(["::ffff:0:0/96"], "192.0.2.7", False, id="ipv4-is-matched-as-ipv4"),
        pytest.param(["fe80::/10"], "fe80::1", True, id="link-local"),
        pytest.param(["0.0.0.0/0", "::/0"], "", False, id="no-address"),
        pytest.param(["0.0.0.0/0", "::/0"], "a.example.com", False, id="a-name"),
    ],
)
def test_from_allows_its_addresses_only(networks: list[str], address: str, allowed: bool) -> None:
    config = Config(networks=tuple(ipaddress.ip_network(network) for network in networks))
    assert access.is_address_accepted(config, address) is allowed


@pytest.mark.parametrize(
    ("address", "normal"),
    [
        pytest.param("192.0.2.7", "192.0.2.7", id="ipv4"),
        pytest.param("::ffff:192.0.2.7", "192.0.2.7", id="ipv4-on-a-dual-stack-socket"),
        pytest.param("::FFFF:C000:207", "192.0.2.7", id="the-same-in-hexadecimal"),
        pytest.param("2001:DB8:0:0::1", "2001:db8::1", id="ipv6"),
        pytest.param("fe80::1%eth0", "fe80::1", id="link-local-with-its-interface"),
        pytest.param("", "", id="no-address"),
        pytest.param("somebody", "somebody", id="a-name"),
    ],
)
def test_address_has_one_spelling(address: str, normal: str) -> None:
    assert access.normalise(address) == normal


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", True, id="ipv4"),
        pytest.param("192.0.2.1", "192.0.2.2", False, id="ipv4-neighbours"),
        pytest.param("2001:db8::1", "2001:db8::ffff:2", True, id="ipv6-of-one-net"),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", False, id="ipv6-of-two-nets"),
        pytest.param("fe80::1", "fe80::2", True, id="link-local"),
        pytest.param("not:an:address", "not:an:address", True, id="no-address"),
    ],
)
def test_ipv6_address_counts_with_its_64(one: str, other: str, same: bool) -> None:
    assert (access.group(one) == access.group(other)) is same


@given(address=st.ip_addresses())
def test_every_address_fits_into_a_packet(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert re.fullmatch(messages.CLIENT, access.normalise(str(address)))


# ---- grants


@pytest.mark.parametrize(
    ("grants", "asked", "lacks"),
    [
        pytest.param(("trigger",), {}, None, id="trigger"),
        pytest.param((), {}, "trigger", id="nothing"),
        pytest.param(("noop",), {}, "trigger", id="noop-is-not-trigger"),
        pytest.param(("noop",), {"noop": True}, None, id="noop"),
        pytest.param(("trigger",), {"noop": True}, "noop", id="trigger-is-not-noop"),
        pytest.param(("trigger",), {"tags": ("a",)}, "tags", id="no-tags"),
        pytest.param(("trigger", "tags"), {"tags": ("a",)}, None, id="tags"),
        pytest.param(("trigger", "tags"), {"tags": ("a",), "noop": True}, "noop", id="noop-comes-first"),
        pytest.param(("trigger",), {"environment": "a"}, "environment=a", id="no-environment"),
        pytest.param(("trigger", "environment=a"), {"environment": "a"}, None, id="environment"),
        pytest.param(("trigger", "environment=a"), {"environment": "b"}, "environment=b", id="another"),
        pytest.param(("trigger", "environment=a"), {"environment": "A"}, "environment=A", id="case-counts"),
        pytest.param(("trigger", "environment=a", "environment=b"), {"environment": "b"}, None, id="several"),
        pytest.param(("trigger", "environment=*"), {"environment": "x_1"}, None, id="every-environment"),
        pytest.param(("trigger", "environment=f_*"), {"environment": "f_1"}, None, id="prefix"),
        pytest.param(("trigger", "environment=f*"), {"environment": "f"}, "environment=f", id="bare-prefix"),
        pytest.param(("trigger", "environment=f*"), {"environment": "xf1"}, "environment=xf1", id="inside"),
        pytest.param(("trigger", "environment=*_b"), {"environment": "a_b"}, None, id="suffix"),
        pytest.param(("trigger", "environment=a*b*c"), {"environment": "a1b2c"}, None, id="two-stars"),
        pytest.param(("trigger", "environment=*b"), {"environment": "b"}, "environment=b", id="star-is-one"),
        pytest.param(("status", "logs", "tags"), {}, "trigger", id="reading-is-not-triggering"),
    ],
)  # fmt: skip
def test_first_missing_grant_is_named(
    grants: tuple[str, ...], asked: dict[str, object], lacks: Optional[str]
) -> None:
    assert access.missing_grant(caller(*grants), **{**NOTHING, **asked}) == lacks  # type: ignore[arg-type]


def glob(pattern: str, name: str) -> bool:
    """Return whether a pattern matches, letter by letter: another way to do what `matches` does."""
    if not pattern or not name:
        return pattern == name
    if pattern[0] == "*":
        return glob(pattern[1:], name[1:]) or glob(pattern, name[1:])
    return pattern[0] == name[0] and glob(pattern[1:], name[1:])


@given(pattern=st.text("ab*", max_size=6), name=st.text("ab", max_size=8))
def test_star_matches_one_letter_or_more(pattern: str, name: str) -> None:
    assert access.matches(pattern, name) is glob(pattern, name)


def test_pattern_with_many_stars_is_matched_in_one_pass() -> None:
    # An algorithm that tries every way to divide the name among the stars would not end.
    assert not access.matches("cert:" + "*a" * 60 + ".example.com", "cert:" + "a" * 250)


patterns = st.text("ab_*", min_size=1, max_size=6)
names = st.text("ab_", min_size=1, max_size=6)


@given(
    words=st.sets(st.sampled_from(WORDS)),
    patterns=st.lists(patterns, max_size=3),
    noop=st.booleans(),
    tags=st.lists(names, max_size=2).map(tuple),
    environment=st.none() | names,
)
def test_no_combination_of_grants_allows_more(
    words: set[str], patterns: list[str], noop: bool, tags: tuple[str, ...], environment: Optional[str]
) -> None:
    grants = (*words, *(f"environment={pattern}" for pattern in patterns))
    allowed = (
        ("noop" if noop else "trigger") in words
        and (not tags or "tags" in words)
        and (environment is None or any(glob(pattern, environment) for pattern in patterns))
    )
    lacks = missing(grants, noop=noop, tags=tags, environment=environment)
    assert (lacks is None) is allowed
    assert lacks not in grants
