"""The completion for bash, in a real bash: every command and every option that the commands have."""

from __future__ import annotations

import os
import re
import select
import subprocess
from pathlib import Path

import pytest

from tests.unit.processes import LIMIT_S
from twitch import __main__

SCRIPT = Path(__file__).resolve().parents[3] / "packaging/puppet-twitch.bash"

# What bash does at TAB: it calls the function of `complete` with the words so far.
AT_TAB = """
source "$1"; shift
compopt() { :; }  # it works in a completion only
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_puppet_twitch
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(*words: str) -> list[str]:
    """Return what bash offers for the last word."""
    command = ["bash", "--norc", "-uc", AT_TAB, "bash", str(SCRIPT), "puppet-twitch", *words]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stderr == ""  # it would appear in the middle of the line that is completed
    return done.stdout.split()


def commands() -> list[str]:
    """Return the commands that a person types, in the order of the usage."""
    return re.findall(r"^  ([a-z]+)  ", __main__.USAGE, re.MULTILINE)


def options(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Return the options of a command, as its help names them."""
    try:
        __main__.main([command, "--help"])
    except SystemExit as end:
        assert end.code == 0
    text = capsys.readouterr().out.partition("xit status")[0]
    return set(re.findall(r"(?<![\w-])(--[a-z-]+|-[nf]\b)", text)) | {"--help"}


def test_commands_are_completed() -> None:
    assert set(__main__.CLI) <= set(commands())
    assert sorted(complete("")) == sorted([*commands(), "--help", "--version"])
    assert complete("tr") == ["trigger"]


@pytest.mark.parametrize("command", [command for command in commands() if command != "fleet"])
def test_options_of_a_command_are_completed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(complete(command, "-")) == options(command, capsys)


def test_runs_are_completed_by_name() -> None:
    assert {"current", "last"} <= set(complete("run", ""))
    assert complete("run", "la") == ["last"]
    assert complete("cancel", "cu") == ["current"]
    assert complete("cancel", "la") == []  # it has ended
    assert all(re.fullmatch("[0-9a-f]{32}|current|last", run) for run in complete("run", ""))


def test_files_are_completed(tmp_path: Path) -> None:
    tmp_path.joinpath("new.conf").touch()
    assert complete("check", "--config", f"{tmp_path}/n") == [f"{tmp_path}/new.conf"]


@pytest.mark.parametrize("words", [("trigger", "--tags", ""), ("reboot", ""), ("handle", "-")])
def test_nothing_is_completed_where_nothing_is_known(words: tuple[str, ...]) -> None:
    assert complete(*words) == []


def test_bash_finds_the_completion_by_its_command() -> None:
    command = ("bash", "--norc", "-euc", f"source {SCRIPT}; complete -p puppet-twitch")
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout == "complete -F _puppet_twitch puppet-twitch\n"


def test_tab_in_an_interactive_bash_completes_the_command() -> None:
    leader, follower = os.openpty()
    bash = ("bash", "--norc", "--noprofile", "-i")
    environment = {"PATH": os.defpath, "TERM": "dumb", "PS1": "ready> "}
    with subprocess.Popen(bash, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        read_until(leader, "ready> ")
        os.write(leader, f"source {SCRIPT}\n".encode())
        read_until(leader, "ready> ")
        os.write(leader, b"puppet-twitch trig\t--no\t")
        shown = read_until(leader, "--noop ")
        os.write(leader, b"\x15exit\n")  # Ctrl-U removes the line
        process.wait(LIMIT_S)
    os.close(leader)
    assert "puppet-twitch trigger --noop " in shown


def read_until(terminal: int, text: str) -> str:
    """Return what a terminal shows, up to this text."""
    shown = ""
    while text not in shown:
        assert select.select([terminal], [], [], LIMIT_S)[0], shown
        shown += os.read(terminal, 4096).decode()
    return shown
