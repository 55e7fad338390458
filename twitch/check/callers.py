"""`puppet-twitch check`, the part about callers: who may do what, and what can never apply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import Config
from twitch.listener import access, tokens
from twitch.listener.access import ANONYMOUS

WORDS = {
    "trigger": "trigger runs",
    "noop": "trigger noop runs",
    "tags": "choose tags",
    "status": "read status and runs",
    "logs": "read what Puppet said",
}

Known = Optional[tuple[tokens.Token, ...]]  # None: the file could not be read


def callers(settings: Config, known: Known) -> Iterator[Finding]:
    """Say in words what is granted, and what of it is in vain."""
    for caller, grants in settings.grants.items():
        yield Finding(GOOD, f"{caller} may {_words(grants)}")
        yield from _in_vain(settings, caller)
        yield from _environments(caller, grants)
        if caller.startswith("token:") and known is not None:
            yield from _token(settings, known, caller)
        if caller.startswith("cert:") and not settings.tls:
            mend = "[tls] enabled = yes, see tls.conf; or remove the line"
            yield Finding(FAULT, f"{caller} can never ask: there is no TLS", mend)
    for name in sorted({token.name for token in known or ()}):
        if access.most_specific(settings.grants, f"token:{name}") is None:
            text = f"the token {name} may no more than anybody"
            yield Finding(NOTE, text, f"token:{name} = … in [access]")
    yield from _plain(settings)


def _environments(caller: str, grants: tuple[str, ...]) -> Iterator[Finding]:
    patterns = _patterns(grants)
    if patterns:
        # pluginsync brings an environment's facts and functions, which the agent runs before any catalog.
        text = (
            f"{caller} may choose {', '.join(patterns)}: who may write such an environment"
            " runs code as root here, noop or not"
        )
        mend = "grant those only that nobody writes who may not be root here; or remove it"
        yield Finding(NOTE, text, mend)


def _patterns(grants: tuple[str, ...]) -> list[str]:
    return [word.partition("=")[2] for word in grants if word.startswith("environment=")]


def _words(grants: tuple[str, ...]) -> str:
    environments = _patterns(grants)
    words = [WORDS[word] for word in grants if word in WORDS]
    words += [f"choose the environments {', '.join(environments)}"] if environments else []
    return ", ".join(words) or "do nothing"


def _in_vain(settings: Config, caller: str) -> Iterator[Finding]:
    has = {*settings.grants[caller], *settings.grants[ANONYMOUS]}  # everyone has what anonymous has
    options = [word for word in settings.grants[caller] if word == "tags" or word.startswith("environment=")]
    if options and not has & {"trigger", "noop"}:
        text = f"{caller}: {' '.join(options)} can never apply without trigger or noop"
        yield Finding(FAULT, text, "grant one of them in [access], or remove it")
    if "logs" in settings.grants[caller] and not has & {"trigger", "noop", "status"}:
        text = f"{caller}: logs can never apply without trigger, noop or status"
        yield Finding(FAULT, text, "grant one of them in [access], or remove it")


def _token(settings: Config, known: tuple[tokens.Token, ...], caller: str) -> Iterator[Finding]:
    names = {token.name for token in known if access.matches(caller, f"token:{token.name}")}
    if not names:
        text = f"{caller} can never ask: {tokens.TOKENS_FILE} has no such token"
        mend = "remove the line" if "*" in caller else f"puppet-twitch token {caller.partition(':')[2]}"
        yield Finding(FAULT, text, mend)
    elif all(access.most_specific(settings.grants, f"token:{name}") != caller for name in names):
        text = f"{caller} can never apply: each of its tokens has a line that says more"
        yield Finding(FAULT, text, "remove the line")
    elif not settings.tls and not settings.plaintext_tokens:
        text = f"{caller} can ask from this machine only: without TLS, no token is taken from elsewhere"
        yield Finding(NOTE, text, "[tls] enabled = yes, see tls.conf")


def _plain(settings: Config) -> Iterator[Finding]:
    if settings.plaintext_tokens and settings.tls:
        text = "plaintext_tokens = yes does nothing: with [tls] enabled = yes, there is no plain HTTP"
        yield Finding(NOTE, text, "remove the line")
    elif settings.plaintext_tokens:
        text = "plaintext_tokens = yes: whoever is on the way can read the tokens, and use them"
        yield Finding(NOTE, text, "[tls] enabled = yes, see tls.conf")
