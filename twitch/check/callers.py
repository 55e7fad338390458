"""The callers of [access]: what each may do, in words, and which lines never apply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import ENVIRONMENT, GRANTS, TOKENS_FILE, Config
from twitch.listener.access import ANONYMOUS, matches, most_specific
from twitch.listener.tokens import Token

Tokens = Optional[tuple[Token, ...]]  # None: the file is invalid, or only root can read it

TLS_FIX = "set [tls] enabled = yes in puppet-twitch.conf, as /usr/share/doc/puppet-twitch/tls.conf describes"


def check(config: Config, tokens: Tokens) -> Iterator[Finding]:
    """Report in words what each caller may do, and each line that never applies or allows much."""
    for caller, grants in config.grants.items():
        yield Finding(GOOD, f"{caller} may {_in_words(caller, grants)}")
        yield from _without_effect(config, caller)
        yield from _environments(caller, grants)
        if caller.startswith("token:") and tokens is not None:
            yield from _token_line(config, tokens, caller)
        if caller.startswith("cert:") and not config.tls:
            text = f"{caller} never applies: client certificates need TLS, which is off"
            yield Finding(FAULT, text, f"{TLS_FIX}; or remove the line {caller} from [access]")
    for name in sorted({token.name for token in tokens or ()}):
        if most_specific(config.grants, f"token:{name}") is None:
            text = f"token {name} may do no more than {ANONYMOUS}: no line in [access] matches it"
            yield Finding(NOTE, text, f"add token:{name} = GRANTS to [access], as in puppet-twitch.conf(5)")
    yield from _plaintext_tokens(config)


def _in_words(caller: str, grants: tuple[str, ...]) -> str:
    words = [GRANTS[grant] for grant in grants if grant in GRANTS]
    patterns = _patterns(grants)
    words += [f"{GRANTS['environment']} {', '.join(patterns)}"] if patterns else []
    nothing = "do nothing" if caller == ANONYMOUS else f"do no more than {ANONYMOUS}"
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
        yield Finding(FAULT, text, fix)
    if "logs" in own and not effective & {"trigger", "noop", "status"}:
        text = f"{caller}: logs can have no effect without trigger, noop or status"
        fix = f"add trigger, noop or status to the line {caller} in [access], or remove logs from it"
        yield Finding(FAULT, text, fix)


def _environments(caller: str, grants: tuple[str, ...]) -> Iterator[Finding]:
    patterns = _patterns(grants)
    if patterns:
        # pluginsync brings an environment's facts and functions, which the agent runs before any catalog.
        text = (
            f"{caller} may choose {', '.join(patterns)}: anyone who can write to such an environment"
            " can run code as root on this node, even with noop"
        )
        fix = "grant only environments that nobody but root-equivalent users can write, or remove the grant"
        yield Finding(NOTE, text, fix)


def _token_line(config: Config, tokens: tuple[Token, ...], caller: str) -> Iterator[Finding]:
    names = {token.name for token in tokens if matches(caller, f"token:{token.name}")}
    remove = f"remove the line {caller} from [access]"
    if not names:
        text = f"{caller} never applies: {TOKENS_FILE} has no such token"
        add = f"add the line of puppet-twitch token {caller.partition(':')[2]} to {TOKENS_FILE}"
        yield Finding(FAULT, text, remove if "*" in caller else f"{add}, or {remove}")
    elif all(most_specific(config.grants, f"token:{name}") != caller for name in names):
        text = f"{caller} never applies: every token it matches has a more specific line"
        yield Finding(FAULT, text, remove)
    elif not config.tls and not config.plaintext_tokens:
        text = f"{caller} applies on this node only: without TLS, tokens from other machines are refused"
        yield Finding(NOTE, text, TLS_FIX)


def _plaintext_tokens(config: Config) -> Iterator[Finding]:
    if config.plaintext_tokens and config.tls:
        text = "plaintext_tokens = yes has no effect: with [tls] enabled = yes, there is no plain HTTP"
        yield Finding(NOTE, text, "remove plaintext_tokens from [access]")
    elif config.plaintext_tokens:
        text = "plaintext_tokens = yes: anyone on the network path can read the tokens and use them"
        yield Finding(NOTE, text, TLS_FIX)
