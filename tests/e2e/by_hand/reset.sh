#!/bin/sh
# Put a machine back to where each run begins.
pkill -f 'sleep 300[0-9]'
systemctl stop puppet.service
systemctl disable --now by-hand.service
dpkg --purge by-hand
userdel by-hand
groupdel by-hand
rm -rf /root/by-hand /root/seen /root/tree /root/purged /root/tidied /root/replaced* /root/notifies /etc/by-hand.conf
# The last states of resources as well: a change of what Puppet had set before is "corrective".
rm -f /var/cache/puppet/state/last_run_report.yaml /var/cache/puppet/state/transactionstore.yaml
mkdir -p /root/seen /root/tree/a /root/purged/directory /root/tidied
echo content >/root/tree/a/file
chmod 600 /root/tree/a/file
echo content | tee /root/purged/file >/root/purged/directory/file
echo old >/root/replaced
touch /root/tidied/a.old /root/tidied/b.new
printf 'kept\nnot kept\nnot kept either\n' >/root/lines
true
