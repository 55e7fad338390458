#!/bin/sh
# Let systemd forget a run that is under way while puppet-twitch is removed, once that run has ended.
# The Makefile pastes these lines into the scripts of both packages, in place of @FORGET_RUNS@.

# The run continues to its end; it may even be the run that removes puppet-twitch. Its unit file, which
# says that Puppet's exit status 2 is a success, is gone by then, so systemd would keep a failed unit.
# Wait for the unit, because Puppet's process ends earlier; but not for ever, and no run takes a day.
runs="'puppet-twitch-run@*.service'"
systemd-run --quiet --collect --property=RuntimeMaxSec=1d sh -c "
    while systemctl list-units --no-legend --state=activating,active,deactivating $runs | grep -q .; do
        sleep 1
    done
    systemctl reset-failed $runs" || true
