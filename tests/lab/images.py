"""The machines' root file systems: a recipe each, built once by mmdebstrap and cached.

Images are built in the host's network, before `enter`, and never change afterwards: a machine
works on an overlay. `python3 -m tests.lab.images [NAME…]` builds what is missing.

The image of Debian testing is built again after a week. Where that fails, the older one stays in use; where
there is none, its tests are skipped. `python3 -m tests.lab.images --not-built` says so. An image that is
named on the command line has to be built.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from .errors import LabError, NotBuiltError
from .recipes import LEFT_OUT, RECIPES, USUAL, Recipe

CACHE = Path(os.environ.get("PUPPET_TWITCH_LAB_CACHE") or "/var/cache/puppet-twitch-lab")

# A build keeps one core busy; more at once only compete for the disk.
BUILDS_AT_ONCE = 2
BUILD_TIMEOUT_S = 1800

# The age at which the image of a suite that changes from day to day is built again.
OUTDATED_AFTER_S = 7 * 24 * 3600


def place(name: str) -> Path:
    """Return the place of an image, whether it exists or not; LabError for an unknown name."""
    if name not in RECIPES:
        raise LabError(f"no image is called {name!r}, there are: {', '.join(RECIPES)}")
    return CACHE / f"{name}-{RECIPES[name].digest()}"


def built(name: str) -> Path:
    """Return the finished image's directory; NotBuiltError or LabError where there is none."""
    directory = place(name)
    if not directory.is_dir():
        failure = _failure(name)
        if failure.exists():
            raise NotBuiltError(f"the image {name} could not be built on {_date(failure)}")
        raise LabError(f"the image {name} is not built: run tests/lab/build {name}")
    return directory


def build(names: Iterable[str], *, required: bool) -> None:
    """Build those of these images that are missing or outdated.

    LabError has the end of mmdebstrap's output. Where images are not required, the failure of one whose suite
    changes from day to day is printed, and kept for `not_built`.
    """
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        place(name)
    if os.geteuid():
        raise LabError("images are built by root")
    with _only_builder():
        for unfinished in CACHE.glob(".new-*"):
            _remove(unfinished)
        with ThreadPoolExecutor(BUILDS_AT_ONCE) as pool:
            for finished in [pool.submit(_build_one, name, required=required) for name in wanted]:
                finished.result()


def not_built() -> str:
    """Return a paragraph for each image whose last build has failed; '' if there is none."""
    paragraphs = []
    for name in RECIPES:
        failure, directory = _failure(name), place(name)
        if failure.exists():
            effect = f"tests ran on that of {_date(directory)}" if directory.is_dir() else "NO TEST RAN ON IT"
            paragraphs.append(
                f"{name}: the image could not be built on {_date(failure)}, so {effect}:\n"
                f"{failure.read_text()}\n"
            )
    return "\n".join(paragraphs)


def _build_one(name: str, *, required: bool) -> None:
    recipe, directory, failure = RECIPES[name], place(name), _failure(name)
    if _outdated(recipe, directory):
        started = time.monotonic()
        print(f"{name}: building from Debian {recipe.suite} …", flush=True)
        try:
            _make(name, recipe, directory)
        except LabError as error:
            if not recipe.moving or required:
                raise
            failure.write_text(f"{error}\n")
            print(f"{name}: NOT BUILT: {error}", flush=True)
            return
        print(f"{name}: built in {time.monotonic() - started:.0f} s", flush=True)
    failure.unlink(missing_ok=True)
    for other in CACHE.glob(f"{name}-*"):
        if other != directory and other.name[: -len("-123456789abc")] == name:
            _remove_unused(other)
    print(f"{name}: {directory}", flush=True)


def _outdated(recipe: Recipe, directory: Path) -> bool:
    """Whether an image is to be built: it is missing, or a newer one will differ."""
    if not directory.is_dir():
        return True
    return recipe.moving and time.time() - directory.stat().st_mtime > OUTDATED_AFTER_S


def _make(name: str, recipe: Recipe, directory: Path) -> None:
    # Only a finished image gets its name, so an interrupted build is never taken for an image.
    new = Path(tempfile.mkdtemp(prefix=f".new-{name}-", dir=CACHE))
    try:
        _mmdebstrap(recipe, new)
        if directory.is_dir():
            _remove_unused(directory)
        if directory.is_dir():
            raise LabError(f"{name}: a machine uses the older image")
        new.rename(directory)
    except BaseException:
        _remove(new)
        raise


def _failure(name: str) -> Path:
    """Return the place of what mmdebstrap said when an image could not be built."""
    return CACHE / f"{name}.not-built"


def _date(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _mmdebstrap(recipe: Recipe, directory: Path) -> None:
    command = [
        # Its mounts and processes end with it, and it ends with this process, even when killed.
        *("setpriv", "--pdeathsig=KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--variant=minbase"),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        f"--include={','.join(recipe.packages)}",
        *(f"--customize-hook={hook}" for hook in recipe.hooks),
        # The index of a suite that changes is valid for a week; a mirror may be a snapshot of an earlier day.
        *(('--aptopt=Acquire::Check-Valid-Until "false"',) if recipe.moving else ()),
        *(recipe.suite, os.fspath(directory)),
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILD_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"mmdebstrap {recipe.suite} was not over after {BUILD_TIMEOUT_S} s") from None
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-30:])
        raise LabError(f"mmdebstrap {recipe.suite} exited {done.returncode}:\n{last}")
    directory.chmod(0o755)
    os.utime(directory)


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


def main(arguments: Sequence[str]) -> None:
    """Build the images that are named, which are required then, or all that tests boot."""
    if arguments == ["--not-built"]:
        print(end=not_built())
    else:
        build(arguments or USUAL, required=bool(arguments))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LabError as error:
        sys.exit(f"tests/lab/build: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
