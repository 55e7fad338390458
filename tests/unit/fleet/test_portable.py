"""What macOS and Windows lack is not needed: modules that they do not have are blocked here.

Their systems themselves are not tested.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet_nodes import fleet
from tests.unit.fleet.commands import LIMIT_S, REPOSITORY, who
from twitch.fleet.main import COMMANDS

# Windows has none of them, macOS no systemd.
BLOCKED = (
    *("fcntl", "grp", "pwd", "resource", "systemd", "termios"),
    *("curses", "pty", "readline", "syslog", "tty"),
)
WITHOUT = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None  # so that importing it is an ImportError
"""
MAIN = WITHOUT + "from twitch.fleet.main import main\nsys.exit(main(sys.argv[1:]))\n"

MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for path in (REPOSITORY / "twitch/fleet").rglob("*.py")
)


def python(script: str, *words: str, state: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": os.fspath(state), "XDG_STATE_HOME": os.fspath(state / "state")}
    return subprocess.run(
        [sys.executable, "-c", script, *words], cwd=REPOSITORY, env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip


def test_every_module_can_be_imported(tmp_path: Path) -> None:
    done = python(
        WITHOUT + f"import importlib\nlist(map(importlib.import_module, {MODULES!r}))", state=tmp_path
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, tmp_path: Path) -> None:
    done = python(MAIN, *filter(None, [command]), "--help", state=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: puppet-twitch-fleet")


def test_run_over_loopback(tmp_path: Path) -> None:
    with fleet.start(5) as nodes:
        done = python(MAIN, "run", *who(nodes), state=tmp_path)
        assert done.returncode == 0, done.stderr
        assert sum(map(len, nodes.started().values())) == 5
    (result,) = (tmp_path / "state/puppet-twitch").iterdir()
    assert '"line":"summary"' in result.read_text()
