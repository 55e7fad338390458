"""A day on which Debian testing has no image: everything else goes on, and `make test` says so at its end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e import systems
from tests.lab import images, recipes
from tests.lab.errors import LabError
from tests.lab.lab import Lab

BUILD = Path(images.__file__).with_name("build")

# Fails for a suite if there is a file with its name in the cache; otherwise makes an image of one file.
MMDEBSTRAP = """\
#!/bin/sh
for directory; do suite=$last; last=$directory; done
if test -e "$PUPPET_TWITCH_LAB_CACHE/$suite-is-broken"; then
    echo "E: Unable to locate package openvox-agent"
    exit 25
fi
mkdir -p "$directory"
date >"$directory/content"
"""
LONG_AGO = 1_000_000_000  # in 2001


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache, with an mmdebstrap that takes no time."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "mmdebstrap"
    program.write_text(MMDEBSTRAP)
    program.chmod(0o755)
    monkeypatch.setattr(images, "CACHE", tmp_path)
    monkeypatch.setenv("PUPPET_TWITCH_LAB_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def build(*arguments: str) -> tuple[int, str]:
    """Run tests/lab/build; return its exit status and its output."""
    done = subprocess.run([BUILD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


@pytest.mark.usefixtures("empty_lab")
def test_testing_without_an_image_stops_nothing_else(cache: Path) -> None:
    (cache / "testing-is-broken").touch()
    code, output = build()
    assert code == 0, output
    assert "debiantesting: NOT BUILT: mmdebstrap testing exited 25" in output
    assert {name for name in recipes.USUAL if images.place(name).is_dir()} == {
        *systems.STABLE.values(),
        "debian11",
        "debian13-servers",
    }
    code, output = build("--not-built")
    assert code == 0
    assert output.startswith("debiantesting: the image could not be built on ")
    assert "NO TEST RAN ON IT" in output
    assert "Unable to locate package openvox-agent" in output


def test_tests_of_testing_without_an_image_are_skipped(empty_lab: Lab, cache: Path) -> None:
    (cache / "testing-is-broken").touch()
    build()
    with pytest.raises(pytest.skip.Exception, match="the image debiantesting could not be built on"):
        systems.boot(empty_lab, "extra", systems.TESTING)


def test_testing_that_was_not_built_at_all_is_an_error(empty_lab: Lab, cache: Path) -> None:
    with pytest.raises(LabError, match="run tests/lab/build debiantesting"):
        systems.boot(empty_lab, "extra", systems.TESTING)


@pytest.mark.usefixtures("empty_lab")
@pytest.mark.parametrize(("broken", "names"), [("testing", ["debiantesting"]), ("trixie", [])])
def test_image_that_is_named_or_stable_has_to_be_built(cache: Path, broken: str, names: list[str]) -> None:
    (cache / f"{broken}-is-broken").touch()
    code, output = build(*names)
    assert code == 1
    assert f"mmdebstrap {broken} exited 25" in output


@pytest.mark.usefixtures("empty_lab")
def test_testing_is_built_again_after_a_week(cache: Path) -> None:
    build()
    testing, stable = images.place("debiantesting"), images.place("debian13")
    for image in (testing, stable):
        (image / "content").write_text("old")
        os.utime(image, (LONG_AGO, LONG_AGO))
    (cache / "testing-is-broken").touch()
    assert build()[0] == 0
    # The older one stays in use, and that is said, too.
    assert (testing / "content").read_text() == "old"
    assert "so tests ran on that of 2001-09-09" in build("--not-built")[1]
    (cache / "testing-is-broken").unlink()
    build()
    assert (testing / "content").read_text() != "old"
    assert (stable / "content").read_text() == "old"
    assert build("--not-built") == (0, "")
