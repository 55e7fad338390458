#!/bin/sh
# After an upgrade, restart only the sockets whose unit has changed, and stop the listener of the old version.
# The Makefile pastes these lines into the scripts of both packages, in place of @RESTART_SOCKETS@.

# While a socket restarts, any user of the node can bind the port, which is not a privileged one, and keep it.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    # A new place of Puppet's locks takes effect; nothing happens where the unit is not enabled.
    systemctl --quiet try-restart puppet-twitch-watch.path 2>/dev/null || true
    # A version without puppet-twitch-log.socket had none to restart: the next listener starts it (Wants=).
    for socket in puppet-twitch-run.socket puppet-twitch-log.socket puppet-twitch.socket; do
        if ! grep "/$socket\$" /run/puppet-twitch.sha256 2>/dev/null | sha256sum --check --status 2>/dev/null; then
            # Once more, because the old socket may not be closed yet (Address already in use, seen with 257):
            # the port would stay closed.
            systemctl try-restart $socket || { sleep 1; systemctl start $socket; } || true
        fi
    done
    # The listener answers the callers that wait in it: 202, with the path of their run; followers of a log are
    # told where it goes on. The next connection starts the next listener, with the new code.
    systemctl --quiet stop puppet-twitch.service 2>/dev/null || true
fi
rm -f /run/puppet-twitch.sha256
