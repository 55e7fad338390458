"""The packages, built here and looked at by the linters of those who will install them."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import twitch

REPOSITORY = Path(__file__).resolve().parents[2]
DIST = REPOSITORY / "dist"
DEB = DIST / f"puppet-twitch_{twitch.__version__}_all.deb"
RPM = DIST / f"puppet-twitch-{twitch.__version__}-1.noarch.rpm"
MAN = ("man1/puppet-twitch.1", "man5/puppet-twitch.conf.5", "man8/puppet-twitch.service.8")


def run(*command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    run("make", "deb", "rpm", "dist")


def test_lintian_finds_nothing() -> None:
    # -q: that it does not like to be run by root is not about the package.
    strict = ("--display-info", "--pedantic", "--fail-on", "error,warning,info,pedantic")
    said = run("lintian", "-q", "--allow-root", *strict, DEB)
    assert said == ""


def test_rpmlint_finds_nothing() -> None:
    said = run(
        "rpmlint", "--rpmlintrc", "packaging/puppet-twitch.rpmlintrc", RPM, "build/rpm/puppet-twitch.spec"
    )
    assert "0 errors, 0 warnings" in said


def files_of_deb() -> list[str]:
    listed = run("dpkg-deb", "--contents", DEB)
    return [line.split()[5][1:] for line in listed.splitlines()]


def files_of_rpm() -> list[str]:
    return run("rpm", "-qpl", RPM).splitlines()


@pytest.mark.parametrize("files", [files_of_deb, files_of_rpm])
def test_what_make_install_puts_on_a_node_is_in_the_package(
    files: Callable[[], list[str]], tmp_path: Path
) -> None:
    run("make", "install", f"DESTDIR={tmp_path}")
    installed = {f"/{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*") if path.is_file()}
    # Where they are compressed or called differently, and where Python's own files come on the node.
    ours = {path for path in installed if not path.startswith(("/usr/share/", "/usr/lib/python3"))}
    ours = {path for path in ours if "__pycache__" not in path}
    packaged = set(files())
    assert ours <= packaged
    assert {f"/usr/share/man/{page}.gz" for page in MAN} <= packaged
    assert not [path for path in packaged if path.endswith(".pyc")]


def test_a_node_needs_what_the_code_imports() -> None:
    depends = run("dpkg-deb", "--field", DEB, "Depends")
    requires = run("rpm", "-qp", "--requires", RPM)
    for package in ("python3-systemd", "python3-h11"):
        assert package in depends
        assert package in requires
    assert "python3-yaml" in depends
    assert "python3-pyyaml" in requires
    assert "systemd (>= 247)" in depends


def test_both_packages_leave_a_run_under_way_to_systemd() -> None:
    # Erased by the run itself, say: without this it would be a failed unit for ever.
    prerm = (REPOSITORY / "packaging/debian/puppet-twitch.prerm").read_text()
    forget = prerm[prerm.index("    systemd-run") : prerm.index('" || true')]
    assert "reset-failed" in forget
    assert forget in run("rpm", "-qp", "--scripts", RPM)
    # What its scripts call is there for as long as they may run.
    with_flags = run("rpm", "-qp", "--queryformat", "[%{REQUIRENAME} %{REQUIREFLAGS:deptype}\n]", RPM)
    for script in ("post", "preun", "postun"):
        assert f"systemd {script}\n" in with_flags


def test_the_wheel_has_the_python_and_the_command() -> None:
    with zipfile.ZipFile(DIST / f"puppet_twitch-{twitch.__version__}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    modules = {f"twitch/{path.name}" for path in (REPOSITORY / "twitch").glob("*.py")}
    assert modules <= set(names)


@pytest.mark.parametrize("page", MAN)
def test_man_pages_are_well_formed(page: str) -> None:
    path = REPOSITORY / "packaging/man" / Path(page).name
    assert run("mandoc", "-T", "lint", "-W", "warning", path) == ""
