"""The packages: built here, and checked with the linters of the distributions."""

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
FLEET_DEB = DIST / f"puppet-twitch-fleet_{twitch.__version__}_all.deb"
FLEET_RPM = DIST / f"puppet-twitch-fleet-{twitch.__version__}-1.noarch.rpm"
FLEET_MAN = "man1/puppet-twitch-fleet.1"
MAN = ("man1/puppet-twitch.1", "man5/puppet-twitch.conf.5", "man8/puppet-twitch.service.8")


def run(*command: object) -> str:
    result = subprocess.run(
        [str(word) for word in command],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    run("make", "deb", "rpm", "dist")


@pytest.fixture(scope="module")
def node_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory into which `make install` has installed everything of a node."""
    path = tmp_path_factory.mktemp("installed")
    run("make", "install", f"DESTDIR={path}")
    return path


def test_lintian_finds_nothing() -> None:
    # -q, because lintian's warning about running as root is not about the package.
    strict = ("--display-info", "--pedantic", "--fail-on", "error,warning,info,pedantic")
    assert run("lintian", "-q", "--allow-root", *strict, DEB, FLEET_DEB) == ""


def test_rpmlint_finds_nothing() -> None:
    packages = (RPM, FLEET_RPM, "build/rpm/puppet-twitch.spec")
    output = run("rpmlint", "--rpmlintrc", "packaging/puppet-twitch.rpmlintrc", *packages)
    assert "0 errors, 0 warnings" in output


def files_of_deb(package: Path = DEB) -> list[str]:
    contents = run("dpkg-deb", "--contents", package)
    return [line.split()[5][1:] for line in contents.splitlines()]


def files_of_rpm(package: Path = RPM) -> list[str]:
    return run("rpm", "-qpl", package).splitlines()


@pytest.mark.parametrize("files", [files_of_deb, files_of_rpm])
def test_package_has_every_file_of_make_install(files: Callable[[], list[str]], node_files: Path) -> None:
    installed = {
        f"/{path.relative_to(node_files)}"
        for path in node_files.rglob("*")
        if path.is_file() or path.is_symlink()
    }
    # The packages compress or rename documentation, and their scripts compile the Python on the node.
    expected = {path for path in installed if not path.startswith(("/usr/share/", "/usr/lib/python3"))}
    expected = {path for path in expected if "__pycache__" not in path}
    packaged = set(files())
    assert expected <= packaged
    assert {f"/usr/share/man/{page}.gz" for page in MAN} <= packaged
    # Not below /usr/share/doc, which slim images leave out.
    drop_ins = {f"/usr/share/puppet-twitch/{name}.conf" for name in ("tls", "per-connection")}
    completion = {"/usr/share/bash-completion/completions/puppet-twitch"}
    assert drop_ins | completion <= packaged
    assert all((node_files / path.lstrip("/")).is_file() for path in drop_ins | completion)
    assert not [path for path in packaged if path.endswith(".pyc")]


def test_packages_depend_on_what_the_code_imports() -> None:
    depends = run("dpkg-deb", "--field", DEB, "Depends")
    requires = run("rpm", "-qp", "--requires", RPM)
    for package in ("python3-systemd", "python3-h11"):
        assert package in depends
        assert package in requires
    assert "python3-yaml" in depends
    assert "python3-pyyaml" in requires
    assert "systemd (>= 247)" in depends


def test_packages_of_the_fleet_have_every_file_and_nothing_of_the_node(tmp_path: Path) -> None:
    run("make", "install-fleet", f"DESTDIR={tmp_path}")
    installed = {f"/{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*") if path.is_file()}
    expected = {path for path in installed if "/doc/" not in path and "__pycache__" not in path}
    expected = expected - {f"/usr/share/man/{FLEET_MAN}"} | {f"/usr/share/man/{FLEET_MAN}.gz"}
    assert "/usr/lib/puppet-twitch-fleet/twitch/fleet/run/main.py" in expected
    for packaged, nodes in (
        (set(files_of_deb(FLEET_DEB)), set(files_of_deb())),
        (set(files_of_rpm(FLEET_RPM)), set(files_of_rpm())),
    ):
        assert expected <= packaged
        assert not [path for path in packaged if path.endswith(".pyc") or "systemd" in path]
        # Both can be installed on one machine.
        assert not [path for path in packaged & nodes if not path.endswith(("/", "/bin", "/lib"))]
        assert not [path for path in nodes if "fleet" in path]


def test_packages_of_the_fleet_depend_on_aiohttp_and_rich_alone() -> None:
    depends = run("dpkg-deb", "--field", FLEET_DEB, "Depends")
    names = {word.split()[0] for word in depends.split(", ")}
    assert names == {"python3-aiohttp", "python3-rich", "python3:any"}
    requires = {line.split()[0] for line in run("rpm", "-qp", "--requires", FLEET_RPM).splitlines()}
    others = {name for name in requires if not name.startswith(("rpmlib(", "/bin/sh"))}
    assert others == {"coreutils", "python3", "python3-aiohttp", "python3-rich"}


def test_packages_reset_the_failed_units_of_runs_on_removal() -> None:
    # A run may remove the package itself. Without the reset, the unit of that run would stay failed for ever.
    forget = (REPOSITORY / "packaging/forget-runs.sh").read_text().partition("\n\n")[2]
    assert "reset-failed" in forget
    assert forget in run("dpkg-deb", "--info", DEB, "prerm")
    assert forget in run("rpm", "-qp", "--scripts", RPM)
    # systemd, which the scripts call, is there for as long as they may run.
    with_flags = run("rpm", "-qp", "--queryformat", "[%{REQUIRENAME} %{REQUIREFLAGS:deptype}\n]", RPM)
    for script in ("post", "preun", "postun"):
        assert f"systemd {script}\n" in with_flags


@pytest.mark.parametrize(
    ("snippet", "scripts"),
    [
        pytest.param("refuse-account", ("preinst", "preinstall"), id="refuse-account"),
        pytest.param("remember-sockets", ("preinst", "preinstall"), id="remember-sockets"),
        pytest.param("remove-unpackaged", ("preinst", "preinstall"), id="remove-unpackaged"),
        pytest.param("restart-sockets", ("postinst", "postinstall"), id="restart-sockets"),
        pytest.param("stop-expiry", ("prerm", "preuninstall"), id="stop-expiry"),
        pytest.param("remove-unpackaged-fleet", ("preinst", "preinstall"), id="remove-unpackaged-fleet"),
    ],
)
def test_both_packages_have_the_lines_of_a_snippet(snippet: str, scripts: tuple[str, str]) -> None:
    deb, rpm = (FLEET_DEB, FLEET_RPM) if snippet.endswith("-fleet") else (DEB, RPM)
    lines = (REPOSITORY / f"packaging/{snippet}.sh").read_text().partition("\n\n")[2]
    assert lines in run("dpkg-deb", "--info", deb, scripts[0])
    of_rpm = run("rpm", "-qp", "--scripts", rpm).partition(f"{scripts[1]} scriptlet")[2]
    assert lines in of_rpm.partition(" scriptlet ")[0]
    for shell in ("dash", "bash"):
        run(shell, "-n", REPOSITORY / f"packaging/{snippet}.sh")


def test_both_packages_configure_needrestart() -> None:
    path = "/etc/needrestart/conf.d/puppet-twitch.conf"
    assert path in run("dpkg-deb", "--info", DEB, "conffiles").splitlines()
    assert path in run("rpm", "-qpc", RPM).splitlines()


def test_wheel_has_every_python_module() -> None:
    with zipfile.ZipFile(DIST / f"puppet_twitch-{twitch.__version__}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    modules = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "twitch").rglob("*.py")}
    assert "twitch/root/handler.py" in modules
    assert modules <= set(names)


def test_wheel_needs_systemd_on_linux_alone_and_has_the_extra_fleet() -> None:
    with zipfile.ZipFile(DIST / f"puppet_twitch-{twitch.__version__}-py3-none-any.whl") as wheel:
        name = f"puppet_twitch-{twitch.__version__}.dist-info"
        metadata = wheel.read(f"{name}/METADATA").decode().replace("'", '"').splitlines()
        commands = wheel.read(f"{name}/entry_points.txt").decode()
    needs = {
        line.partition(": ")[2].replace(" ", "") for line in metadata if line.startswith("Requires-Dist")
    }
    assert 'systemd-python>=234;sys_platform=="linux"' in {
        need.replace("(", "").replace(")", "") for need in needs
    }
    assert {need.partition(">")[0].partition("(")[0] for need in needs if 'extra=="fleet"' in need} == {
        "aiohttp",
        "rich",
    }
    assert "puppet-twitch-fleet = twitch.fleet.main:main" in commands


@pytest.mark.parametrize("page", [*MAN, FLEET_MAN])
def test_man_page_is_well_formed(page: str) -> None:
    path = REPOSITORY / "packaging/man" / Path(page).name
    assert run("mandoc", "-T", "lint", "-W", "warning", path) == ""
