"""Linters are tests: the code is formatted, typed and free of what they know to be wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def shell_scripts() -> list[str]:
    """What git tracks, or would, and begins like a shell script."""
    git = ("git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(git, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True, text=True)
    paths = [path for path in listed.stdout.splitlines() if (REPOSITORY / path).is_file()]
    begins = (b"#!/bin/sh", b"# Completion of")
    return [path for path in paths if (REPOSITORY / path).read_bytes().startswith(begins)]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "format", "--check", "."], id="ruff-format"),
        pytest.param(["ruff", "check", "."], id="ruff-check"),
        pytest.param(["mypy"], id="mypy-strict"),
        pytest.param(["shellcheck", *shell_scripts()], id="shellcheck"),
    ],
)
def test_finds_nothing(command: list[str]) -> None:
    done = subprocess.run(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout


def test_there_are_shell_scripts_to_check() -> None:
    assert "units/puppet-twitch" in shell_scripts()
