"""Credentials and grants together: no caller gets a grant that no matching line of [access] gives."""

from __future__ import annotations

import hashlib
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.caller import Caller
from twitch.config import GRANTS, Config
from twitch.listener import access
from twitch.listener.access import Credentials
from twitch.listener.exchange import HTTPError
from twitch.listener.tokens import Token

TOKENS = tuple(
    Token(name, hashlib.sha256(f"secret-{name}".encode()).hexdigest(), None) for name in ("a", "ab", "b")
)


def identify(
    config: Config, *, token: Optional[str] = None, certname: Optional[str] = None, private: bool = True
) -> Caller:
    credentials = Credentials(f"Bearer secret-{token}" if token else None, certname, private)
    return access.identify(config, TOKENS, "192.0.2.7", credentials)


# ---- the most specific name

SPECIFIC = {
    "itself": (["*", "a*", "ab"], "ab", "ab"),
    "longer-prefix": (["*", "a*", "ab*"], "abc", "ab*"),
    "suffix": (["*", "*.example.com"], "x.example.com", "*.example.com"),
    "more-letters": (["x.*", "*.example.com"], "x.example.com", "*.example.com"),
    "equal-letters-earlier-star": (["a*", "*b"], "axb", "a*"),
    "a-star-is-one": (["a*", "*"], "a", "*"),
    "case": (["A*"], "ab", None),
    "dot-is-a-dot": (["a.b"], "axb", None),
    "none": (["x"], "ab", None),
}


@pytest.mark.parametrize(("patterns", "name", "expected"), SPECIFIC.values(), ids=SPECIFIC)
def test_most_specific_line_applies(patterns: list[str], name: str, expected: Optional[str]) -> None:
    callers = ["anonymous", *(f"token:{pattern}" for pattern in patterns), "cert:*"]
    line = access.most_specific(callers, f"token:{name}")
    assert line == (f"token:{expected}" if expected else None)
    assert access.most_specific(reversed(callers), f"token:{name}") == line


def test_lines_for_tokens_do_not_apply_to_certificates() -> None:
    config = Config(grants={"anonymous": (), "cert:a": ("trigger",), "token:b": ("logs",)})
    assert identify(config, token="a").grants == frozenset()
    assert identify(config, certname="b").grants == frozenset()


# ---- all credentials together

words = st.sampled_from(
    [grant for grant in GRANTS if grant != "environment"] + ["environment=x", "environment=*"]
)
grants = st.frozensets(words, max_size=4).map(tuple)
names = st.sampled_from(["a", "ab", "b", "a*", "*b", "*"])
tables = st.dictionaries(
    st.one_of(names.map("token:{}".format), names.map("cert:{}".format)), grants, max_size=6
)
presented = st.sampled_from([None, "a", "ab", "b"])


def matching_lines(table: dict[str, tuple[str, ...]], kind: str, name: Optional[str]) -> list[set[str]]:
    """Return the grants of every line that matches a name."""
    if name is None:
        return []
    patterns = {"a": "a *", "ab": "ab a* *b *", "b": "b *"}[name].split()
    return [set(table[f"{kind}:{one}"]) for one in patterns if f"{kind}:{one}" in table]


@given(anonymous=grants, table=tables, token=presented, certname=presented)
def test_caller_gets_the_grants_of_matching_lines_only(
    anonymous: tuple[str, ...],
    table: dict[str, tuple[str, ...]],
    token: Optional[str],
    certname: Optional[str],
) -> None:
    config = Config(grants={"anonymous": anonymous, **table})
    caller = identify(config, token=token, certname=certname)
    lines = [matching_lines(table, "token", token), matching_lines(table, "cert", certname)]
    most = set(anonymous).union(*(line for kind in lines for line in kind))
    assert set(anonymous) <= caller.grants <= most
    # Of each kind one line applies, not several, and the caller is a named one if it has grants.
    assert any(
        caller.grants == set(anonymous) | one | other and caller.named is bool(one | other)
        for one in (lines[0] or [set()])
        for other in (lines[1] or [set()])
    )
    # Both credentials together have the grants of each.
    alone = [identify(config, token=token), identify(config, certname=certname)]
    assert caller.grants == alone[0].grants | alone[1].grants


# ---- invalid credentials

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60)


@given(authorization=PRINTABLE | PRINTABLE.map("Bearer {}".format))
def test_invalid_credential_is_refused_and_not_repeated(authorization: str) -> None:
    config = Config(grants={"anonymous": ("trigger",)})
    for private in (True, False):
        with pytest.raises(HTTPError) as caught:
            access.identify(config, TOKENS, "192.0.2.7", Credentials(authorization, None, private))
        assert caught.value.status == (401 if private else 403)
        assert len(authorization) < 10 or authorization not in str(caught.value)


@pytest.mark.parametrize("form", ["Bearer secret-a", "bearer secret-a", "BEARER   secret-a"])
def test_scheme_of_the_credential_is_case_insensitive(form: str) -> None:
    caller = access.identify(Config(), TOKENS, "192.0.2.7", Credentials(form, None, True))
    assert caller.name == "token:a"


def test_token_over_plain_http_from_elsewhere_is_refused() -> None:
    with pytest.raises(HTTPError, match="may have been intercepted: replace it") as caught:
        identify(Config(), token="a", private=False)
    assert caught.value.status == 403
    assert identify(Config(plaintext_tokens=True), token="a", private=False).name == "token:a"
