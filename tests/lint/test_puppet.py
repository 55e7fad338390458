"""The Puppet module by Puppet's own tools: valid, in the usual style, and all of it documented."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "puppet-module" / "twitch"


def said_by(*command: str, cwd: Path = MODULE) -> tuple[int, str]:
    """The exit code, and all that was printed but Ruby's complaints about the tools themselves."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "RUBYOPT": "-W0",
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("puppet-lint", "."), id="puppet-lint"),
        pytest.param(("puppet", "parser", "validate", "manifests", "types"), id="manifests"),
        pytest.param(("puppet", "epp", "validate", *map(str, MODULE.glob("templates/*"))), id="templates"),
        pytest.param(
            ("metadata-json-lint", "--strict-dependencies", "--fail-on-warnings", "metadata.json"),
            id="metadata",
        ),
    ],
)
def test_finds_nothing(command: tuple[str, ...]) -> None:
    assert said_by(*command) == (0, "")


def test_every_parameter_is_documented_and_the_reference_is_up_to_date(tmp_path: Path) -> None:
    # puppet-lint's checks for parameters are plugins that Debian does not have; puppet-strings knows too.
    copy = tmp_path / "twitch"
    shutil.copytree(MODULE, copy)
    command = ("puppet", "strings", "generate", "--format", "markdown", "--out", "REFERENCE.md")
    code, said = said_by(*command, cwd=copy)
    assert (code, "[warn]" in said, "[error]" in said) == (0, False, False), said
    reference = (copy / "REFERENCE.md").read_text()
    assert reference == (MODULE / "REFERENCE.md").read_text(), "run make reference"
    # Untyped parameters are `Any` there.
    assert "Data type: `Any`" not in reference
