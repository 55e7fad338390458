"""The Ansible collection as Ansible's own tools see it: sane, with its unit tests, and built as an archive.

ansible-test looks at a collection only in a directory of its name, below `ansible_collections`, and asks git
for its files.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

import twitch

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTION = REPOSITORY / "ansible-collection"
VENV = REPOSITORY / "build/venv-ansible"

# Not pylint, which takes twice as long as all others together; not pep8, because ruff formats the code.
SANITY = (
    *("action-plugin-docs", "ansible-doc", "compile", "empty-init", "ignores", "import", "line-endings"),
    *("no-illegal-filenames", "no-smart-quotes", "replace-urlopen", "runtime-metadata", "shebang"),
    *("symlinks", "use-argspec-type-path", "validate-modules", "yamllint"),
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the collection, in a repository of its own."""
    path = tmp_path_factory.mktemp("ansible") / "ansible_collections/puppet_twitch/node"
    shutil.copytree(COLLECTION, path, ignore=shutil.ignore_patterns("__pycache__", "output"))
    for words in (("init", "--quiet"), ("add", "--all")):
        subprocess.run(["git", *words], cwd=path, check=True)
    return path


def ansible_test(checkout: Path, *words: str) -> str:
    """Return the output of ansible-test, which has found nothing."""
    environment = {"PATH": f"{VENV}/bin:/usr/bin:/bin", "HOME": os.fspath(VENV / "home"), "LANG": "C.UTF-8"}
    python = subprocess.run([VENV / "bin/python", "-V"], capture_output=True, text=True, check=True)
    version = re.sub(r"\D*(\d+\.\d+).*\n", r"\1", python.stdout)
    done = subprocess.run(
        ["ansible-test", *words, "--local", "--requirements", "--python", version],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_ansible_test_sanity(checkout: Path) -> None:
    tests = [word for name in SANITY for word in ("--test", name)]
    output = ansible_test(checkout, "sanity", *tests)
    assert output.count("Running sanity test") == len(SANITY)


def test_ansible_test_units(checkout: Path) -> None:
    # One process, because to start one for each core takes longer than a hundred short tests.
    output = ansible_test(checkout, "units", "--num-workers", "1")
    assert re.search(r"\b[0-9]+ passed", output)


def test_collection_has_the_version_of_the_package() -> None:
    galaxy = (COLLECTION / "galaxy.yml").read_text()
    assert f"\nversion: {twitch.__version__}\n" in galaxy


def test_files_with_parts_of_ansible_are_gpl_and_the_others_are_mit() -> None:
    # Plugins that the controller loads import ansible's own classes, which are GPL. module_utils are not.
    for path in COLLECTION.rglob("*.py"):
        text = path.read_text()
        imported = re.findall(r"^from (ansible\.[a-z_.]+)", text, re.MULTILINE)
        gpl = [name for name in imported if not name.startswith("ansible.module_utils.")]
        gpl += re.findall("plugin_utils._host import", text)
        licence = "GPL-3.0-or-later" if gpl else "MIT"
        assert f"# SPDX-License-Identifier: {licence}\n" in text, path


def test_archive_can_be_installed(tmp_path: Path) -> None:
    subprocess.run(["make", "collection"], cwd=REPOSITORY, check=True, capture_output=True)
    archive = REPOSITORY / f"dist/puppet_twitch-node-{twitch.__version__}.tar.gz"
    environment = {"PATH": "/usr/bin:/bin", "HOME": os.fspath(tmp_path), "LANG": "C.UTF-8"}
    words = ("collection", "install", "--offline", "-p", tmp_path / "collections", archive)
    done = subprocess.run(
        ["ansible-galaxy", *words], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    installed = tmp_path / "collections/ansible_collections/puppet_twitch/node"
    for name in ("README.md", "LICENSE", "LICENSES/GPL-3.0-or-later.txt", "plugins/modules/run.py"):
        assert (installed / name).is_file(), name
    with tarfile.open(archive) as opened:
        assert not [name for name in opened.getnames() if "__pycache__" in name or "output" in name]
