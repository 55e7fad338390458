#!/bin/sh
# Remember the socket units before an upgrade replaces them; restart-sockets.sh compares.
# The Makefile pastes these lines into the scripts of both packages, in place of @REMEMBER_SOCKETS@.

# Not again if the version before was unpacked but not configured: systemd still runs the units before that.
[ -s /run/puppet-twitch.sha256 ] ||
    sha256sum /usr/lib/systemd/system/puppet-twitch.socket /usr/lib/systemd/system/puppet-twitch-run.socket \
        /usr/lib/systemd/system/puppet-twitch-log.socket >/run/puppet-twitch.sha256 2>/dev/null || true
