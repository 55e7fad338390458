"""The completion for bash and the man page know every command, option, outcome and field."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.unit.fleet.commands import REPOSITORY
from twitch.fleet import main
from twitch.fleet.events import STEPS, Ask, Change, Counts, NodeEvent, Plan, Summary
from twitch.fleet.options import ONLY
from twitch.fleet.outcomes import Outcome

PAGE = (REPOSITORY / "packaging/man/puppet-twitch-fleet.1").read_text().replace("\\-", "-")
OF_NODES, OF_FLEET = (
    REPOSITORY / f"packaging/{name}.bash" for name in ("puppet-twitch", "puppet-twitch-fleet")
)

# What bash does at TAB: it calls the function of `complete` with the words so far.
AT_TAB = """
source "$1"; source "$2"; shift 2
compopt() { :; }  # it works in a completion only
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
if [ "$1" = puppet-twitch ]; then _puppet_twitch; else _puppet_twitch_fleet; fi
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(*words: str, program: tuple[str, ...] = ("puppet-twitch-fleet",)) -> list[str]:
    """Return what bash offers for the last word."""
    command = ["bash", "--norc", "-uc", AT_TAB, "bash", str(OF_NODES), str(OF_FLEET), *program, *words]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


def options(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Return the options of a command, as its help names them."""
    with pytest.raises(SystemExit):
        main.main([command, "--help"])
    lines = "\n".join(re.findall(r"^  (-.*?)(?:   |$)", capsys.readouterr().out, re.MULTILINE))
    return set(re.findall(r"(?<![\w-])(--[a-z-]+|-f\b)", lines))


def test_commands_are_completed() -> None:
    assert sorted(complete("")) == sorted([*main.COMMANDS, "--help", "--version"])
    assert complete("ru") == ["run"]


@pytest.mark.parametrize("command", main.COMMANDS)
def test_options_are_completed_and_documented(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    known = options(command, capsys)
    assert set(complete(command, "-")) == known
    assert [option for option in known - {"--help"} if f"{option}" not in PAGE] == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("run", "--only", "not-"), "not-attempted"),
        (("log", "--level", "warn"), "warning"),
        (("run", "--follow", "pupp"), "puppetdb"),
        (("status", "--puppetdb", ""), "none"),
        (("log", "--run", "cur"), "current"),
        (("show", "fix"), "fixed"),
    ],
)
def test_values_are_completed(words: tuple[str, ...], text: str) -> None:
    assert text in complete(*words)


@pytest.mark.parametrize("words", [("run", "--tags", ""), ("reboot", ""), ("disable", "--reason", "")])
def test_nothing_is_completed_where_nothing_is_known(words: tuple[str, ...]) -> None:
    assert complete(*words) == []


def test_every_kind_of_only_is_completed() -> None:
    assert sorted(complete("run", "--only", "")) == sorted(ONLY)


def test_puppet_twitch_fleet_is_completed_alike() -> None:
    program = ("puppet-twitch", "fleet")
    assert complete("", program=program) == complete("")
    assert complete("disable", "-", program=program) == complete("disable", "-")


def test_man_page_has_every_outcome() -> None:
    outcomes = PAGE.partition(".SH OUTCOMES")[2].partition(".SH EXIT")[0]
    assert [
        outcome.value for outcome in Outcome if not re.search(rf"^\.BR? .*{outcome.value}", outcomes, re.M)
    ] == []


def test_man_page_has_every_field_of_a_result() -> None:
    files = PAGE.partition(".SH RESULT FILES")[2].partition(".SH CERTIFICATES")[0]
    words = set(re.findall(r"[a-z_]+", files))
    fields = {field for kind in (Plan, Ask, NodeEvent, Counts, Change, Summary) for field in kind._fields}
    assert fields - words == set()
    assert set(STEPS) <= words
