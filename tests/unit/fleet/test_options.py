"""Values of options: what a node would refuse is refused here, once."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from twitch import messages
from twitch.errors import UsageError
from twitch.fleet import options
from twitch.fleet.options import Share
from twitch.fleet.outcomes import Outcome

SHARES = {
    "20": (Share(20), 20, 20),
    "0": (Share(0), 0, 0),
    "5%": (Share(5, percent=True), 1, 2),
    "12.5%": (Share(12.5, percent=True), 3, 4),
    "100%": (Share(100, percent=True), 30, 30),
    "0%": (Share(0, percent=True), 0, 0),
    "99": (Share(99), 99, 30),
}


@pytest.mark.parametrize(("text", "expected"), SHARES.items(), ids=SHARES)
def test_share_of_30_nodes(text: str, expected: tuple[Share, int, int]) -> None:
    found = options.share(text)
    assert (found, found.of(30), found.at_least_one_of(30)) == expected
    assert str(found) == text


def test_share_is_exact() -> None:
    # 29 % of 100 is 28.999999999999996 in floating point.
    assert Share(29, percent=True).of(100) == 29
    assert Share(29, percent=True).at_least_one_of(100) == 29
    assert Share(7, percent=True).at_least_one_of(100) == 7
    assert options.share("16.1%").at_least_one_of(1000) == 161
    assert options.share("65.1%").of(1000) == 651


INVALID = {
    "share-negative": (options.share, "-1"),
    "share-over": (options.share, "101%"),
    "share-word": (options.share, "half"),
    "share-empty": (options.share, ""),
    "share-float": (options.share, "1.5"),
    "at-once-none": (options.some, "0"),
    "at-once-none-of-all": (options.some, "0%"),
    "duration": (options.duration, "soon"),
    "duration-zero": (options.duration, "0"),
    "until": (options.until, "24:00"),
    "until-seconds": (options.until, "06:00:00"),
    "tags": (options.tags, "a,,b"),
    "tags-many": (options.tags, ",".join("abc" for _ in range(51))),
    "environment": (options.environment, "feature-x"),
    "label": (options.label, "CHG 123"),
    "label-long": (options.label, "x" * 41),
    "reason": (options.reason, "a\nb"),
    "reason-empty": (options.reason, ""),
    "port": (options.port, "65536"),
    "port-zero": (options.port, "0"),
    "kinds": (options.kinds, "failed,broken"),
}


@pytest.mark.parametrize(("check", "text"), INVALID.values(), ids=INVALID)
def test_invalid_values(check: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        check(text)


def test_until_is_the_next_such_time() -> None:
    now = datetime.fromtimestamp(time.time())
    for minutes in (5, 24 * 60 - 5):
        then = (now + timedelta(minutes=minutes)).replace(second=0, microsecond=0)
        assert options.until(f"{then:%H:%M}") == then.timestamp()


def test_nodes_accept_the_same() -> None:
    assert (options.TAG, options.ENVIRONMENT) == (messages.TAG, messages.ENVIRONMENT)
    assert (options.LABEL, options.REASON) == (messages.LABEL, messages.REASON)
    assert options.MAX_TAGS == messages.MAX_TAGS


def test_every_outcome_can_be_chosen() -> None:
    names = [outcome.option for outcome in Outcome]
    assert options.kinds(",".join([*names, "remaining"])) == (*names, "remaining")
    assert all(re.fullmatch("[a-z-]+", name) for name in names)


@pytest.mark.parametrize("words", [["--pla"], ["--at-once", "many"], ["--unknown"]])
def test_error_names_the_help(words: list[str]) -> None:
    parser = options.Parser("run", "")
    options.add_how(parser)
    options.add_as_whom(parser)
    with pytest.raises(UsageError, match="; see puppet-twitch-fleet run --help"):
        parser.parse_args(words)
