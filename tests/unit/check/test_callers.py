"""Callers: grants in words, and lines of [access] that never apply."""

from __future__ import annotations

import pytest

from tests.unit.check.levels import of_level, texts
from twitch.check import callers
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import GRANTS, Config
from twitch.listener.tokens import Token

TLS_FIX = "set [tls] enabled = yes in puppet-twitch.conf, as /usr/share/doc/puppet-twitch/tls.conf describes"


def check(config: Config, *names: str) -> list[Finding]:
    """Return the findings about a configuration, with tokens of these names."""
    return list(callers.check(config, tuple(Token(name, "0" * 64, None) for name in names)))


def test_grants_are_reported_in_words() -> None:
    grants = {
        "anonymous": ("trigger", "status"),
        "cert:*": ("noop", "environment=f_*", "tags", "environment=g"),
    }
    findings = check(Config(grants=grants, tls=True))
    assert texts(findings, GOOD) == [
        "anonymous may trigger runs, read status and runs",
        "cert:* may trigger noop runs, choose tags, choose the environments f_*, g",
    ]
    assert texts(findings, FAULT) == []


def test_a_caller_without_grants_may_do_what_anonymous_may() -> None:
    findings = check(Config(grants={"anonymous": (), "cert:*": ()}, tls=True))
    assert texts(findings, GOOD) == ["anonymous may do nothing", "cert:* may do no more than anonymous"]


@pytest.mark.parametrize("grant", [grant for grant in GRANTS if grant != "environment"])
def test_every_grant_has_words(grant: str) -> None:
    (finding, *_) = check(Config(grants={"anonymous": (grant,)}))
    assert finding.text == f"anonymous may {GRANTS[grant]}"


@pytest.mark.parametrize(
    ("anonymous", "grants", "faults"),
    [
        pytest.param((), ("tags",), 1, id="tags-alone"),
        pytest.param((), ("environment=x",), 1, id="environment-alone"),
        pytest.param((), ("noop", "tags"), 0, id="tags-of-noop-runs"),
        pytest.param(("trigger",), ("tags",), 0, id="anonymous-triggers"),
        pytest.param((), ("logs",), 1, id="logs-alone"),
        pytest.param((), ("logs", "status"), 0, id="logs-of-runs"),
        pytest.param((), ("logs", "tags"), 2, id="both"),
    ],
)
def test_a_grant_that_needs_another_one(
    anonymous: tuple[str, ...], grants: tuple[str, ...], faults: int
) -> None:
    findings = check(Config(grants={"anonymous": anonymous, "token:a": grants}, tls=True), "a")
    assert len(texts(findings, FAULT)) == faults
    assert all(finding.fix for finding in findings if finding.level != GOOD)


def test_a_grant_that_needs_another_one_names_both() -> None:
    grants = {"anonymous": (), "token:a": ("environment=x", "logs", "tags")}
    assert of_level(check(Config(grants=grants, tls=True), "a"), FAULT) == [
        Finding(
            FAULT,
            "token:a: environment=x tags can have no effect without trigger or noop",
            "add trigger or noop to the line token:a in [access], or remove environment=x tags from it",
        ),
        Finding(
            FAULT,
            "token:a: logs can have no effect without trigger, noop or status",
            "add trigger, noop or status to the line token:a in [access], or remove logs from it",
        ),
    ]


def test_environments_are_noted_because_their_writers_run_code_as_root() -> None:
    grants = {"anonymous": (), "token:a": ("noop", "environment=f_*", "environment=g")}
    assert of_level(check(Config(grants=grants, tls=True), "a"), NOTE) == [
        Finding(
            NOTE,
            "token:a may choose f_*, g: anyone who can write to such an environment can run code as root on"
            " this node, even with noop",
            "grant only environments that nobody but root-equivalent users can write, or remove the grant",
        )
    ]


@pytest.mark.parametrize(
    ("caller", "names", "text", "fix"),
    [
        pytest.param(
            "token:deplyo",
            ("deploy",),
            "token:deplyo never applies: /etc/puppet-twitch/tokens has no such token",
            "add the line of puppet-twitch token deplyo to /etc/puppet-twitch/tokens, or remove the line"
            " token:deplyo from [access]",
            id="no-such-token",
        ),
        pytest.param(
            "token:x*",
            ("deploy",),
            "token:x* never applies: /etc/puppet-twitch/tokens has no such token",
            "remove the line token:x* from [access]",
            id="pattern-without-tokens",
        ),
        pytest.param(
            "token:dep*",
            ("deploy",),
            "token:dep* never applies: every token it matches has a more specific line",
            "remove the line token:dep* from [access]",
            id="more-specific-line",
        ),
    ],
)
def test_a_token_line_that_never_applies(caller: str, names: tuple[str, ...], text: str, fix: str) -> None:
    grants = {"anonymous": (), "token:deploy": ("status",), caller: ("status",)}
    assert Finding(FAULT, text, fix) in check(Config(grants=grants, tls=True), *names)


def test_token_lines_are_not_judged_when_the_tokens_are_unknown() -> None:
    config = Config(grants={"anonymous": (), "token:a": ("status",)})
    assert [finding.level for finding in callers.check(config, None)] == [GOOD, GOOD]


def test_a_token_line_without_tls_applies_on_the_node_only() -> None:
    config = Config(grants={"anonymous": (), "token:a": ("status",)})
    text = "token:a applies on this node only: without TLS, tokens from other machines are refused"
    assert of_level(check(config, "a"), NOTE) == [Finding(NOTE, text, TLS_FIX)]


def test_a_token_without_a_line_is_noted() -> None:
    assert of_level(check(Config(tls=True), "a"), NOTE) == [
        Finding(
            NOTE,
            "token a may do no more than anonymous: no line in [access] matches it",
            "add token:a = GRANTS to [access], as in puppet-twitch.conf(5)",
        )
    ]


def test_a_certificate_line_without_tls_never_applies() -> None:
    findings = check(Config(grants={"anonymous": (), "cert:*.example.com": ("trigger",)}))
    text = "cert:*.example.com never applies: client certificates need TLS, which is off"
    fix = f"{TLS_FIX}; or remove the line cert:*.example.com from [access]"
    assert of_level(findings, FAULT) == [Finding(FAULT, text, fix)]


def test_plaintext_tokens_are_noted() -> None:
    text = "plaintext_tokens = yes: anyone on the network path can read the tokens and use them"
    assert of_level(check(Config(plaintext_tokens=True)), NOTE) == [Finding(NOTE, text, TLS_FIX)]


def test_plaintext_tokens_have_no_effect_with_tls() -> None:
    text = "plaintext_tokens = yes has no effect: with [tls] enabled = yes, there is no plain HTTP"
    fix = "remove plaintext_tokens from [access]"
    assert of_level(check(Config(plaintext_tokens=True, tls=True)), NOTE) == [Finding(NOTE, text, fix)]
