#!/bin/sh
# Let the next listener start with its present settings, and record them. The port stays open: its socket,
# which no other user of the node can take meanwhile, starts the next listener.
#
# TWITCH_SETTINGS is a digest of the settings; TWITCH_STATE_DIRECTORY is where to record it.
set -eu

# Make systemd read the drop-ins.
systemctl daemon-reload
# A listener that is stopped answers its waiting callers first.
systemctl stop 'puppet-twitch[.@]*service'
# Clear a listener that could not start with its former settings.
systemctl reset-failed puppet-twitch.service 2>/dev/null || true
# Record the settings last, so that the next Puppet run tries again if a command above fails.
mkdir -p "$TWITCH_STATE_DIRECTORY"
echo "$TWITCH_SETTINGS" >"$TWITCH_STATE_DIRECTORY/listener"
