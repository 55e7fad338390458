"""The command: its words, its errors, and the exit status that each error becomes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

import twitch
from tests.unit.fleet.commands import LIMIT_S, REPOSITORY
from twitch.errors import TwitchError, UsageError
from twitch.fleet import exits, main


def test_nothing_gets_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == exits.NOTHING_STARTED
    assert capsys.readouterr() == ("", main.USAGE)


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([word]) == 0
    assert capsys.readouterr() == (main.USAGE, "")
    assert all(f"\n  {command} " in main.USAGE for command in main.COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"puppet-twitch-fleet {twitch.__version__}\n"


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["start", "web01"]) == exits.NOTHING_STARTED
    assert capsys.readouterr().err.startswith("puppet-twitch-fleet: start web01: not understood; see")


@pytest.mark.parametrize(
    ("raised", "status", "text"),
    [
        (UsageError("x\x1b[2J"), exits.NOTHING_STARTED, "puppet-twitch-fleet: x\\x1b[2J\n"),
        (TwitchError("x"), exits.NOTHING_STARTED, "puppet-twitch-fleet: x\n"),
        (KeyboardInterrupt(), exits.INTERRUPTED, ""),
        (
            ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp.abc"),
            exits.NOTHING_STARTED,
            f"puppet-twitch-fleet: the Python library aiohttp is missing: {main.HOW_TO_INSTALL}\n",
        ),
    ],
)
def test_error_is_one_line_and_an_exit_status(
    raised: BaseException,
    status: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(words: Sequence[str]) -> int:
        raise raised

    monkeypatch.setattr(main, "_command", fail)
    assert main.main(["run"]) == status
    assert capsys.readouterr().err == text


@pytest.mark.parametrize("raised", [ModuleNotFoundError("x", name="twitch.fleet.x"), KeyError("x\x1b")])
def test_bug_is_one_line_without_debugging(
    raised: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(words: Sequence[str]) -> int:
        raise raised

    monkeypatch.setattr(main, "_command", fail)
    monkeypatch.delenv(main.DEBUG, raising=False)
    assert main.main(["run"]) == exits.UNCERTAIN
    error = capsys.readouterr().err
    assert error.startswith("puppet-twitch-fleet: an error in this program, please report it")
    assert error.count("\n") == 1
    monkeypatch.setenv(main.DEBUG, "1")
    with pytest.raises(type(raised)):
        main.main(["run"])


def test_closed_pipe_is_no_traceback() -> None:
    script = f"{sys.executable} -m twitch.fleet.main --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.stderr == ""
    assert done.stdout in (
        f"{exits.BROKEN_PIPE}\n",
        "0\n",
    )  # 0: it was in the pipe before that was closed


def test_nothing_is_loaded_before_the_command_is_known() -> None:
    # They take a third of a second, and --version needs none of them.
    script = "import sys, twitch.fleet.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert not {"aiohttp", "rich", "asyncio", "ssl"} & set(done.stdout.split())
