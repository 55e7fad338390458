"""The machines' root file systems: a recipe each, built once by mmdebstrap and cached.

Images are built in the host's network, before `enter`, and never change afterwards: a machine
works on an overlay. `python3 -m tests.lab.images [NAME…]` builds what is missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import LabError

CACHE = Path(os.environ.get("PUPPET_TWITCH_LAB_CACHE") or "/var/cache/puppet-twitch-lab")

# A build keeps one core busy; more at once only compete for the disk.
BUILDS_AT_ONCE = 2
BUILD_TIMEOUT_S = 1800

# Files that no test needs. The directories of manual pages stay, because OpenJDK's installation
# puts links into them and fails without (bugs.debian.org/863199).
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*.gz", "/usr/share/locale/*", "/usr/share/info/*")

BASE = (
    *("systemd", "systemd-sysv", "dbus", "iproute2", "procps", "curl", "ca-certificates", "make"),
    *("python3", "python3-systemd", "python3-h11", "python3-yaml"),
)

# Tests start Puppet themselves, and apt's timers fail without a network.
QUIET = (
    'systemctl --root="$1" --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer',
    'for unit in puppet puppetserver; do if test -e "$1/lib/systemd/system/$unit.service";'
    ' then systemctl --root="$1" --quiet disable $unit.service; fi; done',
)

# needrestart and its dependencies, and a library that Puppet maps: for tests that install them during a run.
# Not installed in the image, because needrestart would look at every package that other tests install.
PACKAGES = (
    'export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; mkdir "$1/root/packages"; cd "$1/root/packages";'
    " apt-get install --yes --download-only needrestart >&2; mv ../../var/cache/apt/archives/*.deb .;"
    " apt-get download libyaml-0-2 >&2",
)


@dataclass(frozen=True)
class Recipe:
    """The content of an image; a changed recipe is another image."""

    suite: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...] = QUIET
    """Shell commands run at the end of the build, with the image's directory as $1."""

    def digest(self) -> str:
        """Return 12 hexadecimal digits of a hash of this recipe."""
        text = json.dumps([asdict(self), LEFT_OUT])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


RECIPES = {
    "debian11": Recipe("bullseye", (*BASE, "python3-pytest", "python3-hypothesis")),
    "debian12": Recipe("bookworm", (*BASE, "puppet-agent"), QUIET + PACKAGES),
    "debian13": Recipe("trixie", (*BASE, "puppet-agent"), QUIET + PACKAGES),
    # With the peer that `make bench` measures beside us.
    "debian12-bench": Recipe("bookworm", (*BASE, "puppet-agent", "webhook", "strace")),
    "debian13-server": Recipe("trixie", (*BASE, "puppet-agent", "puppetserver")),
}
# The images that the tests boot, the slowest to build first.
USUAL = ("debian13-server", "debian13", "debian12", "debian11")


def place(name: str) -> Path:
    """Return the place of an image, whether it exists or not; LabError for an unknown name."""
    if name not in RECIPES:
        raise LabError(f"no image is called {name!r}, there are: {', '.join(RECIPES)}")
    return CACHE / f"{name}-{RECIPES[name].digest()}"


def built(name: str) -> Path:
    """Return the finished image's directory; LabError where it has to be built first."""
    directory = place(name)
    if not directory.is_dir():
        raise LabError(f"the image {name} is not built: run tests/lab/build {name}")
    return directory


def build(names: Iterable[str]) -> None:
    """Build those of these images that are missing; LabError has the end of mmdebstrap's output."""
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        place(name)
    if os.geteuid():
        raise LabError("images are built by root")
    with _only_builder():
        for unfinished in CACHE.glob(".new-*"):
            _remove(unfinished)
        with ThreadPoolExecutor(BUILDS_AT_ONCE) as pool:
            for finished in [pool.submit(_build_one, name) for name in wanted]:
                finished.result()


def _build_one(name: str) -> None:
    directory = place(name)
    if not directory.is_dir():
        started = time.monotonic()
        print(f"{name}: building from Debian {RECIPES[name].suite} …", flush=True)
        # Only a finished image gets its name, so an interrupted build is never taken for an image.
        new = Path(tempfile.mkdtemp(prefix=f".new-{name}-", dir=CACHE))
        try:
            _mmdebstrap(RECIPES[name], new)
            new.rename(directory)
        except BaseException:
            _remove(new)
            raise
        print(f"{name}: built in {time.monotonic() - started:.0f} s", flush=True)
    for other in CACHE.glob(f"{name}-*"):
        if other != directory and other.name[: -len("-123456789abc")] == name:
            _remove_unused(other)
    print(f"{name}: {directory}", flush=True)


def _mmdebstrap(recipe: Recipe, directory: Path) -> None:
    command = [
        # Its mounts and processes end with it, and it ends with this process, even when killed.
        *("setpriv", "--pdeathsig=KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--variant=minbase"),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        f"--include={','.join(recipe.packages)}",
        *(f"--customize-hook={hook}" for hook in recipe.hooks),
        *(recipe.suite, os.fspath(directory)),
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_TIMEOUT_S,
    )
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-30:])
        raise LabError(f"mmdebstrap {recipe.suite} exited {done.returncode}:\n{last}")
    directory.chmod(0o755)


@contextmanager
def _only_builder() -> Iterator[None]:
    """Make a second builder wait for the first one, whose images it then finds."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def in_use(name: str) -> Iterator[Path]:
    """Lock a finished image, so that no builder of another recipe removes it meanwhile."""
    directory = built(name)
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        yield directory
    finally:
        os.close(held)


def _remove_unused(directory: Path) -> None:
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(directory)
    finally:
        os.close(held)


def _remove(directory: Path) -> None:
    # --one-file-system: a stray bind mount of /dev must not be emptied with it.
    subprocess.run(["rm", "-rf", "--one-file-system", os.fspath(directory)], check=True)


if __name__ == "__main__":
    try:
        build(sys.argv[1:] or USUAL)
    except LabError as error:
        sys.exit(f"tests/lab/build: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
