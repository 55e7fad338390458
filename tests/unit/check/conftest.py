"""Every test asks its own systemd."""

from __future__ import annotations

import pytest

from twitch.check import systemd


@pytest.fixture(autouse=True)
def nothing_read() -> None:
    """Forget the properties of units that another test has made up."""
    systemd.properties.cache_clear()
