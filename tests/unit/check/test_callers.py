"""Callers: grants in words, and lines of [access] that never apply."""

from __future__ import annotations

import ipaddress

import pytest

from tests.unit.check.levels import of_level, texts
from twitch.check import callers, systemd
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import GRANTS, Config
from twitch.listener.tokens import Token

TLS_FIX = "set [tls] enabled = yes in puppet-twitch.conf, as /usr/share/puppet-twitch/tls.conf describes"

CLOSED = {"anonymous": ()}


@pytest.fixture(autouse=True)
def socket(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the properties of puppet-twitch.socket in this test."""
    properties = {"Listen": "[::]:2023 (Stream)"}
    monkeypatch.setattr(systemd, "show", lambda unit, name: properties.get(name, ""))
    return properties


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
        "cert:* may trigger noop runs, choose tags, choose the environments f_*, g (anyone who can write to"
        " one can run code as root on this node, even with noop)",
    ]
    assert texts(findings, FAULT) == []


def test_a_caller_without_grants_may_do_what_anonymous_may() -> None:
    findings = check(Config(grants={"anonymous": (), "cert:*": ()}, tls=True))
    assert texts(findings, GOOD) == [
        "anonymous may do nothing",
        "cert:* may do no more than anonymous, and is treated as such",
    ]


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
        pytest.param((), ("logs",), 0, id="logs-alone"),
        pytest.param((), ("logs", "status"), 0, id="logs-of-runs"),
        pytest.param((), ("logs", "tags"), 1, id="tags-with-logs"),
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
            by_hand=True,
        ),
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
    assert Finding(FAULT, text, fix, by_hand=True) in check(Config(grants=grants, tls=True), *names)


def test_token_lines_are_not_judged_when_the_tokens_are_unknown() -> None:
    config = Config(grants={"anonymous": (), "token:a": ("status",)})
    assert [finding.level for finding in callers.check(config, None)] == [GOOD, GOOD]


def test_a_token_line_without_tls_applies_on_the_node_only() -> None:
    config = Config(grants={"anonymous": (), "token:a": ("status",)})
    text = "token:a applies on this node only: without TLS, tokens from other machines are refused"
    assert of_level(check(config, "a"), NOTE) == [Finding(NOTE, text, TLS_FIX, by_hand=True)]


def test_a_token_without_a_line_is_noted() -> None:
    assert of_level(check(Config(grants=CLOSED, tls=True), "a"), NOTE) == [
        Finding(
            NOTE,
            "token a may do no more than anonymous: no line in [access] matches it",
            "add token:a = GRANTS to [access], as in puppet-twitch.conf(5)",
            by_hand=True,
        )
    ]


def test_a_certificate_line_without_tls_never_applies() -> None:
    findings = check(Config(grants={"anonymous": (), "cert:*.example.com": ("trigger",)}))
    text = "cert:*.example.com never applies: client certificates need TLS, which is off"
    fix = f"{TLS_FIX}; or remove the line cert:*.example.com from [access]"
    assert of_level(findings, FAULT) == [Finding(FAULT, text, fix, by_hand=True)]


def test_plaintext_tokens_are_noted() -> None:
    text = "plaintext_tokens = yes: anyone on the network path can read the tokens and use them"
    assert of_level(check(Config(grants=CLOSED, plaintext_tokens=True)), NOTE) == [
        Finding(NOTE, text, TLS_FIX, by_hand=True)
    ]


def test_plaintext_tokens_have_no_effect_with_tls() -> None:
    text = "plaintext_tokens = yes has no effect: with [tls] enabled = yes, there is no plain HTTP"
    fix = "remove plaintext_tokens from [access]"
    assert of_level(check(Config(grants=CLOSED, plaintext_tokens=True, tls=True)), NOTE) == [
        Finding(NOTE, text, fix, by_hand=True)
    ]


# ---- a port that is open to everyone

NOT_EVERYWHERE = (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        pytest.param(Config(), "plain HTTP; anyone who reaches the port may trigger runs", id="default"),
        pytest.param(
            Config(grants={"anonymous": ("noop",)}),
            "plain HTTP; anyone who reaches the port may trigger noop runs",
            id="noop",
        ),
        pytest.param(
            Config(tls=True),
            "TLS without a client certificate; anyone who reaches the port may trigger runs",
            id="tls",
        ),
        pytest.param(Config(tls=True, tls_client="required"), "", id="certificates-required"),
        pytest.param(Config(grants={"anonymous": ("status",)}), "", id="status-only"),
        pytest.param(Config(networks=NOT_EVERYWHERE), "", id="from"),
    ],
)
def test_an_open_port_is_noted(config: Config, text: str) -> None:
    notes = [note for note in of_level(check(config), NOTE) if "anyone who reaches" in note.text]
    assert [note.text for note in notes] == ([text] if text else [])
    assert all("anonymous = status" in note.fix and note.by_hand for note in notes)


@pytest.mark.parametrize(
    "properties",
    [{"IPAddressDeny": "any"}, {"Listen": "127.0.0.1:2023 (Stream) [::1]:2023 (Stream)"}],
    ids=["filter", "loopback"],
)
def test_a_port_that_systemd_closes_is_not_open(socket: dict[str, str], properties: dict[str, str]) -> None:
    socket.update(properties)
    assert of_level(check(Config()), NOTE) == []
