"""`pip install .` and `make install` put the same program where each says it would."""

from __future__ import annotations

import os
import re
import subprocess
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
VERSION = re.findall(r'__version__ = "(.*)"', (REPOSITORY / "twitch" / "__init__.py").read_text())[0]


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory into which `make install` has installed everything of a node."""
    path = tmp_path_factory.mktemp("installed")
    run("make", "install", f"DESTDIR={path}")
    return path


def test_pip_install(tmp_path: Path) -> None:
    # The distribution's libraries satisfy setup.cfg: nothing is compiled. The pip of the linters, because to
    # install one takes as long as all that follows.
    venv.create(tmp_path, with_pip=False, system_site_packages=True)
    pip = (REPOSITORY / "build/venv/bin/pip", "--python", tmp_path / "bin/python")
    run(*pip, "install", "--quiet", "--disable-pip-version-check", ".")
    assert run(tmp_path / "bin" / "puppet-twitch", "--version") == f"puppet-twitch {VERSION}\n"
    # Both ways lead to the fleet, without PATH.
    for command in (["puppet-twitch-fleet"], ["puppet-twitch", "fleet"]):
        words: list[str | Path] = [tmp_path / "bin" / command[0], *command[1:]]
        assert run(*words, "--version", PATH="/nowhere") == f"puppet-twitch-fleet {VERSION}\n"
        assert run(*words, "disable", "--help").startswith("usage: puppet-twitch-fleet disable")


def test_make_install_into_a_directory_and_away_again(tmp_path: Path) -> None:
    run("make", "install", f"DESTDIR={tmp_path}")
    tree = tmp_path / "usr/lib/puppet-twitch"
    assert run("/usr/bin/python3", "-I", tree, "--version") == f"puppet-twitch {VERSION}\n"
    assert (tmp_path / "usr/lib/systemd/system/puppet-twitch.socket").is_file()
    assert list(tree.glob("twitch/__pycache__/*.pyc"))
    run("make", "uninstall", f"DESTDIR={tmp_path}")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_make_install_has_nothing_of_the_fleet(installed: Path) -> None:
    assert list(installed.rglob("*fleet*")) == []
    environment = {"PATH": "/nowhere"}
    tree = installed / "usr/lib/puppet-twitch"
    done = subprocess.run(
        ["/usr/bin/python3", "-I", tree, "fleet"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 69
    assert "puppet-twitch-fleet is not installed; install the package of this name" in done.stderr


def test_make_install_fleet_into_a_directory_and_away_again(tmp_path: Path) -> None:
    run("make", "install-fleet", f"DESTDIR={tmp_path}")
    tree = tmp_path / "usr/lib/puppet-twitch-fleet"
    assert run("/usr/bin/python3", "-I", tree, "--version") == f"puppet-twitch-fleet {VERSION}\n"
    # Every module finds what it imports, without the rest of the repository.
    modules = [path.relative_to(tree).with_suffix("") for path in tree.glob("twitch/**/*.py")]
    names = " ".join(sorted(str(module).replace("/", ".") for module in modules))
    script = f"import sys; sys.path.insert(0, {str(tree)!r}); import importlib"
    run("/usr/bin/python3", "-I", "-c", f"{script}; [importlib.import_module(n) for n in {names!r}.split()]")
    run("make", "uninstall-fleet", f"DESTDIR={tmp_path}")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_make_install_keeps_the_operators_configuration(tmp_path: Path) -> None:
    run("make", "install", f"DESTDIR={tmp_path}")
    written = tmp_path / "etc/puppet-twitch/puppet-twitch.conf"
    written.write_text("[access]\ncooldown = 1\n")
    run("make", "install", f"DESTDIR={tmp_path}")
    assert written.read_text() == "[access]\ncooldown = 1\n"


def test_the_units_name_what_make_installs(installed: Path) -> None:
    units = list((installed / "usr/lib/systemd/system").glob("puppet-twitch*"))
    named = {path for unit in units for path in re.findall(r"-I (/\S+)", unit.read_text())}
    assert named == {"/usr/lib/puppet-twitch"}
