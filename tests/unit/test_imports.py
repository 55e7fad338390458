"""Who imports what: a cold start is part of every first answer, and the line between listener and root
is drawn in modules too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# What is only for the other side, or only for what few requests need.
FORBIDDEN = {
    "twitch.listener": {
        "yaml",
        "secrets",
        "subprocess",
        *(
            f"twitch.{name}"
            for name in (
                "handler",
                "turn",
                "puppet",
                "puppet_settings",
                "conclude",
                "report",
                "status",
                "check",
            )
        ),
    },
    "twitch.handler": {
        "asyncio",
        "h11",
        "ssl",
        "yaml",
        "logging",
        "subprocess",
        "systemd.journal",
        *(f"twitch.{name}" for name in ("listener", "api", "http", "access", "tokens", "tls", "check")),
    },
    "twitch.conclude": {
        "asyncio",
        "h11",
        "ssl",
        "subprocess",
        "twitch.listener",
        "twitch.api",
        "twitch.handler",
    },
}


@pytest.mark.parametrize("module", FORBIDDEN)
def test_a_side_imports_only_what_it_needs(module: str) -> None:
    # asyncio brings subprocess along; then it is not ours to leave out.
    script = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & (FORBIDDEN[module] - ({"subprocess"} if "asyncio" in loaded else set()))
