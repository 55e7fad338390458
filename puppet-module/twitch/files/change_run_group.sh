#!/bin/sh
# Give the run socket and the records of the runs to another group, while no listener runs: a listener with
# the wrong group can neither ask root nor read records, and would tell callers that their run does not exist.
#
# TWITCH_GROUP is the name of the group.
set -eu

# Make systemd read the drop-ins.
systemctl daemon-reload
# Close the port and stop the listeners, one for all or one for each connection, but no run.
systemctl stop puppet-twitch.socket 'puppet-twitch[.@]*service'
# Make the run socket and the log reader's again, with the group of their drop-ins.
systemctl restart puppet-twitch-run.socket puppet-twitch-log.socket
# Hand over the records, which exist after the first run.
for runs in /run/puppet-twitch/runs /var/lib/puppet-twitch/runs; do
    if test -e "$runs"; then chgrp "$TWITCH_GROUP" "$runs"; fi
done
# Open the port again.
systemctl start puppet-twitch.socket
