"""The Puppet module without a machine: its specs, its archive, and what it shares with the package."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

import twitch

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "puppet-module" / "twitch"
METADATA = json.loads((MODULE / "metadata.json").read_text())


def run(*command: object, cwd: Path = REPOSITORY) -> str:
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_rspec() -> None:
    assert " 0 failures" in run("rspec", "--format", "progress", cwd=MODULE)


def test_module_has_the_version_of_the_package() -> None:
    assert METADATA["version"] == twitch.__version__


def test_per_connection_settings_are_those_of_the_package() -> None:
    shipped = (REPOSITORY / "units/per-connection.conf").read_text().partition("[Socket]\n")[2]
    manifest = (MODULE / "manifests/units.pp").read_text()
    for line in shipped.splitlines():
        assert f"'{line}'" in manifest


@pytest.fixture(scope="module")
def archive() -> Path:
    run("make", "module")
    return REPOSITORY / "dist" / f"{METADATA['name']}-{METADATA['version']}.tar.gz"


def test_archive_can_be_installed_and_applied_without_other_modules(archive: Path, tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    options = ("--confdir", tmp_path, "--vardir", tmp_path / "var")
    run("puppet", "module", "install", "--ignore-dependencies", *options, "--target-dir", modules, archive)
    assert (modules / "twitch/manifests/init.pp").read_text() == (MODULE / "manifests/init.pp").read_text()
    assert METADATA["dependencies"] == []
    assert [path.name for path in modules.iterdir()] == ["twitch"]
    # This compiles only if the archive has every script, function, template and type of the manifests.
    manifest = "class { 'twitch': allowed_addresses => ['10.0.0.0/8'], uid => 2023 }"
    output = run("puppet", "apply", "--noop", *options, "--modulepath", modules, "-e", manifest)
    assert "Service[puppet-twitch.socket]" in output


def test_archive_has_tasks_that_can_be_executed(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        modes = {member.name.partition("/")[2]: member.mode for member in opened.getmembers()}
    assert {"plans/rollout.pp", "tasks/run.json", "files/bolt_tasks/_runs.py"} <= set(modes)
    for task in ("run", "fleet"):
        assert modes[f"tasks/{task}.py"] & 0o111 == 0o111


def test_archive_has_the_documentation_and_no_tests(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"README.md", "REFERENCE.md", "LICENSE", "metadata.json", "hiera.yaml"} <= names
    assert not [name for name in names if name.startswith("spec") or "/." in f"/{name}" or "pycache" in name]
