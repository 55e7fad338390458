"""The boundary between the listener and root, read from the source; imports inside functions included.

A file belongs to the side whose folder it lies in; what lies at the top of `twitch/` belongs to no side
and is read by all.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Union

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "twitch"
TOP = ""

# side -> the sides that it may import. Only __main__, which starts every command, imports all of them.
MAY_IMPORT = {
    TOP: {TOP},
    "listener": {TOP, "listener"},
    "root": {TOP, "root"},
    "log": {TOP, "log"},
    "check": {TOP, "listener", "root", "check"},
    "cli": {TOP, "cli"},
    "fleet": {TOP, "fleet"},  # of the top only FLEET_MAY_IMPORT
}

# The operator's side is a package of its own, which brings these modules of the top, and no others.
# `fields` checks the types in a node's JSON, and has no imports of ours itself.
FLEET_MAY_IMPORT = {"arguments", "errors", "texts", "durations", "fields", "__version__"}

# side -> the modules of others that it may import. A module that starts programs or loads code is never
# the listener's, and what parses HTTP or TLS is never root's.
EVERYWHERE = {"__future__", "collections", "contextlib", "json", "os", "re", "time", "typing"}
MAY_LOAD = {
    TOP: EVERYWHERE | {"argparse", "configparser", "grp", "ipaddress", "pwd", "socket"},
    "listener": EVERYWHERE
    | {
        "argparse",
        "asyncio",
        "binascii",
        "calendar",
        "errno",
        "fcntl",
        "functools",
        "gc",
        "h11",
        "hashlib",
        "hmac",
    }
    | {
        "datetime",
        "http",
        "ipaddress",
        "logging",
        "pwd",
        "secrets",
        "signal",
        "socket",
        "ssl",
        "sys",
        "termios",
    }
    | {"urllib"},
    "root": EVERYWHERE
    | {"datetime", "errno", "fcntl", "grp", "pwd", "resource", "select", "shlex", "shutil", "signal"}
    | {"itertools"}
    | {"ctypes"}  # for renameat2(2), which Python does not have
    | {"site", "socket", "stat", "struct", "subprocess", "sys", "systemd", "traceback", "yaml"},
    "log": EVERYWHERE | {"pwd", "select", "socket", "struct", "systemd"},
    "cli": EVERYWHERE | {"argparse", "pwd", "select", "signal", "socket", "sys"},
    # None of these needs Linux or systemd: an operator's machine can be any that has Python. `resource` (the
    # limit of open files) is used where it exists. `importlib` loads the one command that was
    # asked for; `threading` is for DNS; `contextvars`, `types` and `yarl` go with aiohttp; `email` reads the
    # dates of HTTP.
    "fleet": EVERYWHERE
    | {"contextvars", "email", "errno", "importlib", "resource", "stat", "threading", "types", "yarl"}
    | {
        "aiohttp",
        "argparse",
        "asyncio",
        "configparser",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "html",
    }
    | {"itertools", "math", "pathlib", "random", "rich", "secrets", "shlex", "shutil", "signal", "socket"}
    | {"ssl"}
    | {"stat", "statistics", "subprocess", "sys", "textwrap", "urllib", "xml"},
    "check": EVERYWHERE
    | {"argparse", "fnmatch", "functools", "grp", "pwd", "shlex", "ssl", "stat", "subprocess", "tempfile"},
}

# What starts a program or runs code from elsewhere without an import.
STARTS_PROGRAMS = {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile"}
RUNS_CODE = {"__import__", "eval", "exec", "compile"}

FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__main__.py"]
LISTENER = [path for path in FILES if path.is_relative_to(PACKAGE / "listener")]


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def side(path: Path) -> str:
    """Return the side that a file belongs to."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else TOP


def imported(source: str) -> Iterator[str]:
    """Yield every module that a source names in an import, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def ours(source: str) -> set[str]:
    """Return the sides that a source imports from."""
    modules = {
        module.split(".")[1] if "." in module else TOP for module in imported(source) if of_ours(module)
    }
    return {module if module in MAY_IMPORT else TOP for module in modules}


def of_the_top(source: str) -> set[str]:
    """Return the modules at the top of `twitch/` that a source imports."""
    names = {module.split(".")[1] for module in imported(source) if module.startswith("twitch.")}
    return names - set(MAY_IMPORT)


def of_others(source: str) -> set[str]:
    """Return the modules of others that a source imports, by their first name."""
    return {module.split(".")[0] for module in imported(source) if not of_ours(module)}


def of_ours(module: str) -> bool:
    return module.split(".")[0] == "twitch"


def starts_or_runs(source: str) -> set[str]:
    """Return the calls in a source that start a program or run code from elsewhere."""
    called: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            if node.attr in STARTS_PROGRAMS or node.attr.startswith(("exec", "spawn")):
                called.add(f"os.{node.attr}")
        elif isinstance(node, ast.Name) and node.id in RUNS_CODE:
            called.add(node.id)
    return called


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_imports_only_the_sides_that_it_may(path: Path) -> None:
    assert ours(path.read_text()) <= MAY_IMPORT[side(path)]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_imports_only_the_modules_of_others_that_it_may(path: Path) -> None:
    assert of_others(path.read_text()) <= MAY_LOAD[side(path)]


@pytest.mark.parametrize("path", [path for path in FILES if side(path) == "fleet"], ids=name)
def test_the_fleet_command_needs_nothing_of_the_node(path: Path) -> None:
    assert of_the_top(path.read_text()) <= FLEET_MAY_IMPORT


@pytest.mark.parametrize("path", LISTENER, ids=name)
def test_the_listener_starts_no_program_and_runs_no_code_from_elsewhere(path: Path) -> None:
    assert starts_or_runs(path.read_text()) == set()


# ---- the test of these tests: what a listener that breaks the rules looks like


@pytest.mark.parametrize(
    "source",
    [
        "from twitch.root import puppet_locks",
        "from twitch.root.puppet_locks import Holder",
        "import twitch.root.puppet_locks",
        "def late():\n    from twitch.root import conclude\n",
        "def late():\n    import twitch.root.handler\n",
        "from twitch import root",
        "from twitch.check import main",
    ],
)
def test_a_forbidden_side_is_found(source: str) -> None:
    assert not ours(source) <= MAY_IMPORT["listener"]


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess",
        "def late():\n    from importlib import import_module\n",
        "import ctypes",
        "import yaml",
    ],
)
def test_a_forbidden_module_is_found(source: str) -> None:
    assert not of_others(source) <= MAY_LOAD["listener"]


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.system('x')",
        "import os\nos.execv('x', [])",
        "import os\nos.fork()",
        "__import__('x')",
        "exec('x')",
    ],
)
def test_a_forbidden_call_is_found(source: str) -> None:
    assert starts_or_runs(source)


# ---- what is loaded at a start, which is part of the time of a first answer

NOT_AT_THE_START: dict[str, set[str]] = {
    "twitch.listener.server": {"yaml", "secrets", "hashlib", "hmac", "argparse"}
    | {"twitch.listener.tls_context", "twitch.listener.log_source"},
    "twitch.root.handler": {"asyncio", "h11", "ssl", "yaml", "logging", "subprocess", "systemd.journal"}
    | {f"twitch.root.{one}" for one in ("history", "conclude", "disabling", "holds_in_lock", "memory")},
    "twitch.root.conclude": {"asyncio", "h11", "ssl", "subprocess", "yaml", "traceback", "systemd.journal"},
    "twitch.root.after": {"twitch.root.report", "twitch.root.verdict", "yaml", "systemd.journal"},
    "twitch.log.reader": {"asyncio", "h11", "twitch.root", "twitch.listener"},
}


@pytest.mark.parametrize("module", NOT_AT_THE_START)
def test_what_few_requests_need_is_not_loaded_at_the_start(module: str) -> None:
    # Without ssl, as `__main__` leaves it out of a listener without TLS: it brings hashlib along.
    script = f"import sys; sys.modules['ssl'] = None; import {module}; print(*sys.modules)"
    command: list[Union[str, Path]] = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=PACKAGE.parent, stdout=subprocess.PIPE, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & (NOT_AT_THE_START[module] - {"ssl"})
