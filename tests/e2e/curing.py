"""Make a fault of faults.py on a node, run the fix that `puppet-twitch check` prints, and look again."""

from __future__ import annotations

from tests.e2e import pki, stub
from tests.e2e.faults import LOCKS, LXC, Fault
from tests.lab.machine import Machine

PUPPET_CONF = "/etc/puppet/puppet.conf"
# What no fixture puts back: the account, files of Puppet and of the package, mounts, processes.
KEEP = f"cp -a /etc/group {PUPPET_CONF} /root; cp -a {pki.SSL}/crl.pem /root 2>/dev/null || true"
# run.sock keeps the file system busy in which it was made.
UNMOUNT = f"""\
for place in {stub.RUNTIME} {LOCKS}; do
    while mountpoint -q $place; do
        systemctl stop puppet-twitch-run.socket puppet-twitch-log.socket 'puppet-twitch-run@*.service'
        umount $place || exit 1
    done
done
"""
# As needed, because `unmask` reloads systemd, and Puppet is asked for its settings after each change.
RESTORE = f"""\
cat /root/group >/etc/group
rm -f {pki.SSL}/crl.pem.old; cp -a /root/crl.pem {pki.SSL}/crl.pem
cmp -s /root/puppet.conf {PUPPET_CONF} || cp -a /root/puppet.conf {PUPPET_CONF}
chmod 771 {pki.SSL}; chmod 644 {pki.SSL}/certs/ca.pem
chmod 755 /etc/puppet-twitch {stub.RUNTIME}
rm -rf /root/prom {LXC} {stub.HISTORY} {LOCKS}/agent_*.lock*
systemctl stop stuck.service thief.service puppet-twitch-expiry.timer
test ! -L /etc/systemd/system/puppet-twitch@.service || systemctl unmask -q puppet-twitch@.service
test ! -L /etc/systemd/system/puppet-twitch-expiry.service || systemctl unmask -q puppet-twitch-expiry.service
test ! -L /run/systemd/system/puppet-twitch.socket || systemctl unmask -q --runtime puppet-twitch.socket
watch=puppet-twitch-watch.path
test ! -L /run/systemd/system/paths.target.wants/$watch || systemctl disable -q --runtime --now $watch
rm -rf /etc/systemd/system/puppet-twitch*.d
{stub.RELOAD}
systemctl restart puppet-twitch-run.socket puppet-twitch-log.socket
"""


def cure(node: Machine, fault: Fault) -> None:
    """Make a fault, see that `check` reports it, run the fix as it stands, and see no fault any more."""
    node.sh(KEEP)
    try:
        node.sh(fault.spoil, check=False)
        done = node.sh(fault.check, check=False)
        assert (done.returncode, done.stderr) == (1, ""), done.stdout
        lines = done.stdout.splitlines()
        places = [n for n, line in enumerate(lines) if line.startswith("FAULT") and fault.text in line]
        assert places, done.stdout
        command = lines[places[0] + 1].removeprefix("      fix: ")
        assert fault.fix in command
        # As root's shell would run it; some commands of a fix need not succeed, such as the second `unmask`.
        node.sh(fault.by_hand or command, check=False, timeout_s=180)
        after = node.sh(fault.check.rpartition(";")[2].rstrip("'"), check=False).stdout
        assert [line for line in after.splitlines() if line.startswith("FAULT")] == [], command
    finally:
        node.wait(UNMOUNT)
        node.sh(RESTORE, check=False, timeout_s=180)
