"""The callers of [access]: what each may do, in words, and which lines never apply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Optional

from twitch.check import systemd
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.systemd import SOCKET
from twitch.config import ENVIRONMENT, GRANTS, TOKENS_FILE, Config
from twitch.listener.access import ANONYMOUS, matches, most_specific
from twitch.listener.tokens import Token

Tokens = Optional[tuple[Token, ...]]  # None: the file is invalid, or only root can read it

TLS_FIX = "set [tls] enabled = yes in puppet-twitch.conf, as /usr/share/puppet-twitch/tls.conf describes"

LOOPBACK = re.compile(r"127\.[0-9.]+|\[::1\]")


def check(config: Config, tokens: Tokens) -> Iterator[Finding]:
    """Report in words what each caller may do, and each line that never applies or allows much."""
    for caller, grants in config.grants.items():
        yield Finding(GOOD, f"{caller} may {_in_words(caller, grants)}")
        yield from _without_effect(config, caller)
        if caller.startswith("token:") and tokens is not None:
            yield from _token_line(config, tokens, caller)
        if caller.startswith("cert:") and not config.tls:
            text = f"{caller} never applies: client certificates need TLS, which is off"
            fix = f"{TLS_FIX}; or remove the line {caller} from [access]"
            yield Finding(FAULT, text, fix, by_hand=True)
    for name in sorted({token.name for token in tokens or ()}):
        if most_specific(config.grants, f"token:{name}") is None:
            text = f"token {name} may do no more than {ANONYMOUS}: no line in [access] matches it"
            fix = f"add token:{name} = GRANTS to [access], as in puppet-twitch.conf(5)"
            yield Finding(NOTE, text, fix, by_hand=True)
    yield from _plaintext_tokens(config)
    yield from _open(config)


def _in_words(caller: str, grants: tuple[str, ...]) -> str:
    words = [GRANTS[grant] for grant in grants if grant in GRANTS]
    patterns = _patterns(grants)
    if patterns:
        # pluginsync brings an environment's facts and functions, which the agent runs before any catalog.
        writers = "anyone who can write to one can run code as root on this node, even with noop"
        words.append(f"{GRANTS['environment']} {', '.join(patterns)} ({writers})")
    nothing = "do nothing" if caller == ANONYMOUS else f"do no more than {ANONYMOUS}, and is treated as such"
    return ", ".join(words) or nothing


def _patterns(grants: tuple[str, ...]) -> list[str]:
    return [grant.partition("=")[2] for grant in grants if grant.startswith(ENVIRONMENT)]


def _without_effect(config: Config, caller: str) -> Iterator[Finding]:
    """Report grants that need another one, which the caller has not."""
    own = config.grants[caller]
    effective = {*own, *config.grants[ANONYMOUS]}  # every caller has the grants of anonymous, too
    options = " ".join(grant for grant in own if grant == "tags" or grant.startswith(ENVIRONMENT))
    if options and not effective & {"trigger", "noop"}:
        text = f"{caller}: {options} can have no effect without trigger or noop"
        fix = f"add trigger or noop to the line {caller} in [access], or remove {options} from it"
        yield Finding(FAULT, text, fix, by_hand=True)


def _token_line(config: Config, tokens: tuple[Token, ...], caller: str) -> Iterator[Finding]:
    names = {token.name for token in tokens if matches(caller, f"token:{token.name}")}
    remove = f"remove the line {caller} from [access]"
    if not names:
        text = f"{caller} never applies: {TOKENS_FILE} has no such token"
        add = f"add the line of puppet-twitch token {caller.partition(':')[2]} to {TOKENS_FILE}"
        fix = remove if "*" in caller else f"{add}, or {remove}"
        yield Finding(FAULT, text, fix, by_hand=True)
    elif all(most_specific(config.grants, f"token:{name}") != caller for name in names):
        text = f"{caller} never applies: every token it matches has a more specific line"
        yield Finding(FAULT, text, remove, by_hand=True)
    elif not config.tls and not config.plaintext_tokens:
        text = f"{caller} applies on this node only: without TLS, tokens from other machines are refused"
        yield Finding(NOTE, text, TLS_FIX, by_hand=True)


def _plaintext_tokens(config: Config) -> Iterator[Finding]:
    if config.plaintext_tokens and config.tls:
        text = "plaintext_tokens = yes has no effect: with [tls] enabled = yes, there is no plain HTTP"
        yield Finding(NOTE, text, "remove plaintext_tokens from [access]", by_hand=True)
    elif config.plaintext_tokens:
        text = "plaintext_tokens = yes: anyone on the network path can read the tokens and use them"
        yield Finding(NOTE, text, TLS_FIX, by_hand=True)


def _open(config: Config) -> Iterator[Finding]:
    """Report a port at which anyone may trigger runs; it may be limited by a filter or by its address."""
    runs = [GRANTS[grant] for grant in ("trigger", "noop") if grant in config.grants[ANONYMOUS]]
    everywhere = config.networks is None or any(network.prefixlen == 0 for network in config.networks)
    if not runs or not everywhere or (config.tls and config.tls_client == "required"):
        return
    addresses = [
        stream.rpartition(":")[0]
        for stream in re.findall(r"(\S+) \(Stream\)", systemd.show(SOCKET, "Listen"))
    ]
    if systemd.show(SOCKET, "IPAddressDeny") or (addresses and all(map(LOOPBACK.fullmatch, addresses))):
        return
    way = "TLS without a client certificate" if config.tls else "plain HTTP"
    text = f"{way}; anyone who reaches the port may {runs[0]}"
    fix = (
        "to restrict this, set from = NETWORKS or anonymous = status in [access], and give grants to callers "
        "by name (README, Who may ask)"
    )
    yield Finding(NOTE, text, fix, by_hand=True)
