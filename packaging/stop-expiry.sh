#!/bin/sh
# Leave no timer behind when puppet-twitch is removed. Puppet stays as it is: enabled, or disabled.
# The Makefile pastes these lines into the scripts of both packages, in place of @STOP_EXPIRY@.

# Not enabled here: somebody has asked for a time without Puppet, and a removal must not end it. Nothing ends it
# any more, so the operator hears of it.
if [ -e /var/lib/puppet-twitch/disabled.json ]; then
    echo 'Puppet stays disabled on this node; to enable it: puppet agent --enable' >&2
fi
systemctl --quiet stop puppet-twitch-expiry.timer puppet-twitch-expiry.service 2>/dev/null || true
