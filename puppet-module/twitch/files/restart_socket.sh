#!/bin/sh
# Start puppet-twitch.socket with its present settings, and record them.
#
# TWITCH_SETTINGS is a digest of the settings; TWITCH_STATE_DIRECTORY is where to record it.
set -eu

# Make systemd read the drop-ins.
systemctl daemon-reload
# Stop socket and listener. `systemctl restart` would start a running listener again: without sockets, if
# the socket is now one of Accept=yes. A listener that is stopped answers its waiting callers first.
systemctl stop puppet-twitch.socket puppet-twitch.service
# Open the port again.
systemctl start puppet-twitch.socket
# Clear a failed restart of the listener: a package that was upgraded in this Puppet run may have tried one.
systemctl reset-failed puppet-twitch.service 2>/dev/null || true
# Record the settings last, so that the next Puppet run tries again if a command above fails.
mkdir -p "$TWITCH_STATE_DIRECTORY"
echo "$TWITCH_SETTINGS" >"$TWITCH_STATE_DIRECTORY/socket"
