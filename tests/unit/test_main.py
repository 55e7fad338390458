"""The command: its words, its errors, and the exit status that each error becomes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import twitch
from tests.unit.fake_node import PYTHON
from twitch import __main__, errors

USAGE_ERRORS = {
    "unknown": ["serve"],
    "handle-with-more": ["handle", "now"],
    "conclude-with-more": ["conclude", "now"],
    "version-as-a-word": ["version"],
}


def test_nothing_gets_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main([]) == errors.EX_USAGE
    assert capsys.readouterr() == ("", __main__.USAGE)


@pytest.mark.parametrize("words", USAGE_ERRORS.values(), ids=USAGE_ERRORS)
def test_what_it_does_not_know_is_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(words) == errors.EX_USAGE
    said = f"puppet-twitch: {' '.join(words)}: not understood; see puppet-twitch --help\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main([word]) == 0
    assert capsys.readouterr() == (__main__.USAGE, "")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--version"]) == 0
    assert capsys.readouterr().out == f"puppet-twitch {twitch.__version__}\n"


LISTEN_ERRORS = {
    "no-value": (["--port"], "--port needs a value"),
    "no-number": (["--port", "http"], "--port http: not understood"),
    "no-port": (["--port", "65536"], "--port 65536: not understood"),
    "negative": (["--port", "-1"], "--port -1: not understood"),
    "unknown": (["--socket", "x"], "--socket x: not understood"),
    "no-seconds": (["--idle-exit", "1.5"], "--idle-exit 1.5: not understood"),
}


@pytest.mark.parametrize(("options", "text"), LISTEN_ERRORS.values(), ids=LISTEN_ERRORS)
def test_what_listen_does_not_understand_is_named(
    options: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/nowhere")  # or it would do without ssl, here as well
    assert __main__.main(["listen", *options]) == errors.EX_USAGE
    assert capsys.readouterr().err == f"puppet-twitch: {text}; see puppet-twitch listen --help\n"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        pytest.param(errors.UsageError("x"), 64, "puppet-twitch: x\n", id="usage"),
        pytest.param(errors.ConfigError("x"), 78, "puppet-twitch: x\n", id="config"),
        pytest.param(errors.PacketError("x"), 1, "puppet-twitch: x\n", id="packet"),
        pytest.param(errors.PuppetError("x"), 1, "puppet-twitch: x\n", id="puppet"),
        pytest.param(KeyboardInterrupt(), 130, "", id="ctrl-c"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    raised: BaseException,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(words: list[str]) -> int:
        raise raised

    monkeypatch.setattr(__main__, "_command", fail)
    assert __main__.main(["listen"]) == code
    assert capsys.readouterr().err == said


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__main__, "_command", lambda words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        __main__.main(["listen"])


def test_the_installed_tree_runs_and_nothing_from_around_it(tree: Path, tmp_path: Path) -> None:
    # Another package called twitch exists; neither it nor anything in the current directory is run.
    tmp_path.joinpath("twitch.py").write_text("raise SystemExit('not this one')\n")
    environment = {"PYTHONPATH": str(tmp_path)}
    command = [PYTHON, "-I", str(tree), "--version"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, f"puppet-twitch {twitch.__version__}\n")


def test_the_arguments_are_the_commands_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["puppet-twitch", "--version"])
    assert __main__.main() == 0
    assert capsys.readouterr().out.startswith("puppet-twitch ")
