#!/bin/sh
# Change the numbers of the listener's user and group, and the user's home directory, while no listener runs.
# usermod refuses to change a user that has processes (exit status 8), and a caller that waits for the Puppet
# run that applies this waits in a listener.
#
# TWITCH_USER and TWITCH_GROUP are names. TWITCH_UID and TWITCH_GID are numbers; if one is unset, the user or
# group keeps its number.
set -eu

# Run at the end, also after a failure, so that a port that was open does not stay closed.
finish() {
    # Give the run socket and the records to the new number of the group: a listener without access to them knows no run.
    chgrp --silent --no-dereference "$TWITCH_GROUP" \
        /run/puppet-twitch/run.sock /run/puppet-twitch/runs /var/lib/puppet-twitch/runs || true
    # Open the port again.
    if test "$port" = open; then systemctl start puppet-twitch.socket || true; fi
}

# Remember whether the port is open.
port=closed
if systemctl --quiet is-active puppet-twitch.socket; then port=open; fi
trap finish EXIT
# Close the port and stop the listeners, one for all or one for each connection, but no run. This fails where
# the package is not installed yet.
systemctl stop puppet-twitch.socket 'puppet-twitch[.@]*service' || true
# Change the group, if it exists.
if test -n "${TWITCH_GID:-}" && getent group "$TWITCH_GROUP" >/dev/null; then
    groupmod --gid "$TWITCH_GID" "$TWITCH_GROUP"
fi
# Change the user, if it exists.
if getent passwd "$TWITCH_USER" >/dev/null; then
    usermod ${TWITCH_UID:+--uid "$TWITCH_UID"} --home / "$TWITCH_USER"
fi
