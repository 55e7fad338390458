"""The Puppet module as Puppet's own tools see it: valid, in the usual style, and fully documented."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "puppet-module" / "twitch"


def run(*command: str, cwd: Path = MODULE) -> tuple[int, str]:
    """Return the exit status and the output, without Ruby's warnings about the tools themselves."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "RUBYOPT": "-W0",
    }
    result = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return result.returncode, result.stdout


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("puppet-lint", "."), id="puppet-lint"),
        pytest.param(("puppet", "parser", "validate", "manifests", "types"), id="manifests"),
        pytest.param(("puppet", "parser", "validate", "--tasks", "plans"), id="plans"),
        pytest.param(("puppet", "epp", "validate", *map(str, MODULE.glob("templates/*"))), id="templates"),
        pytest.param(
            ("metadata-json-lint", "--strict-dependencies", "--fail-on-warnings", "metadata.json"),
            id="metadata",
        ),
    ],
)
def test_finds_nothing(command: tuple[str, ...]) -> None:
    assert run(*command) == (0, "")


def test_reference_is_complete_and_current(tmp_path: Path) -> None:
    # puppet-lint's checks of parameters are plugins that Debian does not have; puppet-strings warns too.
    copy = tmp_path / "twitch"
    shutil.copytree(MODULE, copy)
    command = ("puppet", "strings", "generate", "--format", "markdown", "--out", "REFERENCE.md")
    status, output = run(*command, cwd=copy)
    assert (status, "[warn]" in output, "[error]" in output) == (0, False, False), output
    reference = (copy / "REFERENCE.md").read_text()
    assert reference == (MODULE / "REFERENCE.md").read_text(), "run make reference"
    # puppet-strings gives a parameter without a type the type `Any`.
    assert "Data type: `Any`" not in reference
