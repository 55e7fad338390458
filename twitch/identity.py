"""The user and group of the listener."""

from __future__ import annotations

import os

# A site that uses other names sets these in drop-ins for all three services; `check` compares them.
USER = os.environ.get("PUPPET_TWITCH_USER", "twitch")
GROUP = os.environ.get("PUPPET_TWITCH_GROUP", "twitch")
