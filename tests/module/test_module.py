"""The Puppet module without a machine: its own examples, and what it must have in common with the rest."""

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
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_rspec() -> None:
    said = run("rspec", "--format", "progress", cwd=MODULE)
    assert " 0 failures" in said


def test_it_needs_no_other_module(tmp_path: Path) -> None:
    apply = ("puppet", "apply", "--noop", "--confdir", tmp_path, "--vardir", tmp_path / "var")
    said = run(*apply, "--modulepath", "puppet-module", "-e", "include twitch")
    assert "Service[puppet-twitch.socket]" in said
    assert METADATA["dependencies"] == []


def test_one_version_for_all() -> None:
    assert METADATA["version"] == twitch.__version__


def test_the_shape_is_that_of_the_package() -> None:
    shipped = (REPOSITORY / "units/per-connection.conf").read_text().partition("[Socket]\n")[2]
    manifest = (MODULE / "manifests/units.pp").read_text()
    for line in shipped.splitlines():
        assert f"'{line}'" in manifest


@pytest.fixture(scope="module")
def archive() -> Path:
    run("make", "module")
    return REPOSITORY / "dist" / f"{METADATA['name']}-{METADATA['version']}.tar.gz"


def test_the_archive_can_be_installed(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "modules"
    options = ("--confdir", tmp_path, "--vardir", tmp_path / "var", "--target-dir", target)
    run("puppet", "module", "install", "--ignore-dependencies", *options, archive)
    assert (target / "twitch/manifests/init.pp").read_text() == (MODULE / "manifests/init.pp").read_text()


def test_the_archive_has_what_a_user_reads_and_nothing_of_ours(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"README.md", "REFERENCE.md", "LICENSE", "metadata.json", "hiera.yaml"} <= names
    assert not [name for name in names if name.startswith("spec") or "/." in f"/{name}"]
