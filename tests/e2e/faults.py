"""Every fault that `puppet-twitch check` can report: how a test makes it, and what cures it.

tests/unit/check/test_faults.py keeps the table complete: each place in twitch/check that makes a fault has a
row here, by its name: the module, the function, and the number of the fault in that function.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.e2e import access, pki, stub
from tests.e2e.configured_node import DROP_IN, config, drop_in
from tests.lab.install import SOURCE

TLS = "puppet-twitch.service"
RUN, RUN_SOCKET, SOCKET = "puppet-twitch-run@.service", "puppet-twitch-run.socket", "puppet-twitch.socket"
LOG, LOG_SOCKET = "puppet-twitch-log@.service", "puppet-twitch-log.socket"
WATCH, WATCH_SERVICE = "puppet-twitch-watch.path", "puppet-twitch-watch.service"


class Fault(NamedTuple):
    """A fault on the node of configured_node.py."""

    site: str
    """Where it is made: MODULE.FUNCTION/NUMBER."""
    spoil: str
    """The shell command that makes it."""
    text: str
    """A part of its text."""
    fix: str
    """A part of its fix."""
    by_hand: str = ""
    """What the words of the fix say, as a shell command; empty if the fix is itself a command."""
    check: str = "puppet-twitch check"
    """How `check` is called."""


CONF = stub.CONFIG
GRANTS = "[access]\nanonymous = status\ntoken:deploy = trigger\n"
LOCKS = "/var/cache/puppet/state"
CERT, KEY = f"{pki.SSL}/certs/node12.pem", f"{pki.SSL}/private_keys/node12.pem"
# What the comments of tls.conf say.
SET_UP = f"sed s/NODE/node12/ {stub.SHARE}/tls.conf >{DROP_IN}; systemctl daemon-reload; systemctl stop {TLS}"
# Let the drop-in name files of the test instead of the node's own.
ELSEWHERE = (
    f"mkdir -p {pki.CERTS}; sed -i 's,{pki.SSL}/[a-z_]*/node12,{pki.CERTS}/own,' {DROP_IN};"
    f" sed -i 's,^LoadCredential=key:.*,LoadCredential=key:{pki.CERTS}/own.key,' {DROP_IN};"
    " systemctl daemon-reload"
)
SELF = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=node12 -keyout {key} -out {cert} 2>/dev/null"
# A CRL of a CA that has nothing to do with this node, and has expired.
EXPIRED_CRL = (
    f"mkdir -p {pki.CERTS}; cd {pki.CERTS}; : >index;"
    " printf '[ca]\\ndefault_ca=own\\n[own]\\ndatabase=index\\ndefault_md=sha256\\n' >ca.conf;"
    f" {SELF.format(key='x.key', cert='x.pem')};"
    " openssl ca -config ca.conf -gencrl -cert x.pem -keyfile x.key -out x.crl -crlsec 1 2>/dev/null; sleep 2"
)
# The socket of systemd may stay open for a moment after its unit has ended: see ReusePort= in its file.
THIEF = (
    f"systemctl stop {SOCKET} {TLS};"
    " while ss --no-header -ltn sport = :2023 | grep -q .; do sleep 0.1; done;"
    " systemd-run --quiet --unit=thief --property=User=nobody python3 -m http.server 2023;"
    " until ss --no-header -ltn sport = :2023 | grep -q .; do sleep 0.1; done;"
    f" systemctl start {SOCKET} 2>/dev/null"
)
# A process that Puppet takes for a run, and that does not hear SIGTERM because it is stopped.
STUCK = (
    # Before it executes a program, the process that systemd has forked is called `(puppet)`.
    "cp /bin/sleep /root/puppet; {start}; until grep -qx puppet /proc/$pid/comm; do sleep 0.1; done;"
    f" mkdir -p {LOCKS}; echo $pid >{LOCKS}/agent_catalog_run.lock;"
    f" kill -STOP $pid; touch -d '9 hours ago' {LOCKS}/agent_catalog_run.lock"
)
LXC = "/run/systemd/system/service.d/zzz-lxc-service.conf"

# A hold of which no timer knows.
HELD = (
    f'mkdir -p {LOCKS}; printf \'%s\' \'{{{{"disabled_message":"x","puppet_twitch":{{{{"holds":[{{{{'
    '"caller":"token:x","client":"::1","reason":"x","since":1,"until":\'{until}\'}}]}}}}'
    f"' >{LOCKS}/agent_disabled.lock"
)

FAULTS: dict[str, Fault] = {
    # ---- the account
    "no-user": Fault(
        "files.user/1",
        "sed -i /^twitch:/d /etc/passwd",
        "user twitch does not exist",
        "systemd-sysusers",
    ),
    "no-group": Fault(
        "files.user/2",
        "sed -i /^twitch:/d /etc/group",
        "group twitch does not exist",
        "groupadd --system --gid",
    ),
    "login": Fault(
        "files.user/3",
        "usermod -s /bin/bash twitch",
        "can log in with the shell /bin/bash",
        "usermod -s /usr/sbin/nologin twitch",
    ),
    # ---- the configuration
    "configuration-emptied": Fault(
        "files.configuration/1",
        f": >{CONF}",
        "puppet-twitch.conf: is empty; restore it from a backup",
        "install -m 644",
    ),
    "configuration-away": Fault(
        "files.configuration/1",
        f"rm {CONF}",
        "puppet-twitch.conf: does not exist; restore it from a backup",
        "install -m 644",
    ),
    "configuration-dangling": Fault(
        "files.configuration/1",
        f"ln -sf none {CONF}",
        "puppet-twitch.conf: is a link to a file that does not exist; restore it from a backup",
        "install -m 644",
    ),
    "configuration-invalid": Fault(
        "files.configuration/2",
        config("[access]\nanonimous = trigger"),
        "[access] anonimous: unknown key; allowed: from,",
        "until then the port answers 503",
        f"sed -i s/anonimous/anonymous/ {CONF}",
    ),
    "configuration-not-in-place": Fault(
        "files.other_configuration/1",
        "printf '[access]\\nanonimous = status\\n' >/root/new.conf",
        "/root/new.conf: [access] anonimous: unknown key",
        "correct the file",
        "sed -i s/anonimous/anonymous/ /root/new.conf",
        check="puppet-twitch check --config /root/new.conf",
    ),
    "configuration-not-in-place-closed": Fault(
        "files.permissions_in_place/1",
        "echo '[access]' | install -m 600 /dev/stdin /root/new.conf",
        "mode 600, which mv keeps; in its place it must have owner root, mode 644, or user twitch",
        "chmod 644 /root/new.conf",
        check="puppet-twitch check --config /root/new.conf",
    ),
    "configuration-writable": Fault(
        "files.permissions/1", f"chmod 666 {CONF}", "puppet-twitch.conf has owner root", "chmod 644"
    ),
    "configuration-unreadable": Fault(
        "files.permissions/2",
        f"chmod 600 {CONF}",
        "puppet-twitch.conf cannot be read by user twitch",
        "chmod 644",
    ),
    "configuration-linked": Fault(
        "files.permissions/2",
        f"mv {CONF} /root/conf; ln -s /root/conf {CONF}",
        "puppet-twitch.conf cannot be read by user twitch",
        "cp --remove-destination /root/conf",
    ),
    "directory-open": Fault(
        "files.only_root_writes/1",
        "chmod 777 /etc/puppet-twitch",
        "/etc/puppet-twitch has owner root, mode 777, so users other than root can replace its files",
        "chmod go-w /etc/puppet-twitch",
    ),
    "directory-closed": Fault(
        "files.permissions/2",
        f"chmod 700 /etc/puppet-twitch; chmod 600 {CONF}",
        "puppet-twitch.conf cannot be read by user twitch",
        "chmod o+x",
    ),
    # ---- the tokens
    "tokens-600": Fault(
        "files.permissions/1",
        f"chown root:root {access.TOKENS}; chmod 600 {access.TOKENS}",
        "group root, mode 600",
        f"chown root:twitch {access.TOKENS}; chmod 640 {access.TOKENS}",
    ),
    "tokens-600-of-the-group": Fault(
        "files.permissions/2",
        f"chmod 600 {access.TOKENS}",
        "tokens cannot be read by user twitch",
        f"chmod 640 {access.TOKENS}",
    ),
    "tokens-open": Fault(
        "files.permissions/1", f"chmod 644 {access.TOKENS}", "group twitch, mode 644", "chmod 640"
    ),
    "tokens-owner": Fault(
        "files.permissions/1", f"chown twitch {access.TOKENS}", "owner twitch", "chown root:twitch"
    ),
    "tokens-linked": Fault(
        "files.permissions/2",
        f"mv {access.TOKENS} /root/tokens; ln -s /root/tokens {access.TOKENS}",
        "tokens cannot be read by user twitch",
        "cp --remove-destination /root/tokens",
    ),
    "tokens-content": Fault(
        "token_file.read/1",
        f"cp -a {access.TOKENS} /root/tokens; echo half >>{access.TOKENS}",
        "line 2: must be NAME SHA256",
        "correct the file",
        f"sed -i 2d {access.TOKENS}",
    ),
    # ---- the units
    "no-systemd": Fault(
        "units.check/1",
        "true",
        "systemd does not answer systemctl",
        "on a machine that was booted with systemd",
        "true",
        check="unshare --mount sh -c"
        " 'mount -t tmpfs x /run/systemd; mount -t tmpfs x /run/dbus; puppet-twitch check'",
    ),
    "unit-masked": Fault(
        "units._not_loaded/1",
        "systemctl mask -q puppet-twitch@.service",
        "puppet-twitch@.service is masked",
        "systemctl unmask",
    ),
    "expiry-masked": Fault(
        "units._not_loaded/1",
        "systemctl mask -q puppet-twitch-expiry.service",
        "puppet-twitch-expiry.service is masked",
        "systemctl unmask",
    ),
    "socket-masked-until-a-reboot": Fault(
        "units._not_loaded/1",
        f"systemctl mask -q --runtime --now {SOCKET}",
        f"{SOCKET} is masked",
        "systemctl unmask --runtime",
    ),
    "unit-removed": Fault(
        "units._not_loaded/2",
        "rm /usr/lib/systemd/system/puppet-twitch@.service; systemctl daemon-reload",
        "puppet-twitch@.service is not loaded (LoadState=not-found)",
        "reinstall puppet-twitch; then systemctl daemon-reload",
        f"make --silent --directory={SOURCE} install; systemctl daemon-reload",
    ),
    "unit-invalid": Fault(
        "units._not_loaded/2",
        drop_in(RUN, "[Service]", "ExecStart="),
        f"{RUN} is not loaded (LoadState=bad-setting)",
        "systemd-analyze verify",
        f"rm /etc/systemd/system/{RUN}.d/check.conf; systemctl daemon-reload",
    ),
    "socket-taken": Fault(
        "units._not_listening/1",
        THIEF,
        f"{SOCKET} does not listen (ActiveState=failed",
        f"systemctl stop thief.service; systemctl restart {SOCKET}",
    ),
    "socket-without-its-address": Fault(
        "units._not_listening/2",
        drop_in(SOCKET, "[Socket]", "ListenStream=192.0.2.99:2024")
        + f"; systemctl restart {SOCKET} 2>/dev/null",
        f"{SOCKET} does not listen (ActiveState=failed",
        f"fix that cause; then systemctl restart {SOCKET}",
        f"rm /etc/systemd/system/{SOCKET}.d/check.conf; systemctl daemon-reload; systemctl restart {SOCKET}",
    ),
    "socket-stopped": Fault(
        "units._not_listening/3",
        f"systemctl enable -q {SOCKET}; systemctl stop {SOCKET}",
        f"{SOCKET} does not listen (ActiveState=inactive",
        f"systemctl restart {SOCKET}",
    ),
    "run-socket-stopped": Fault(
        "units._not_listening/3",
        f"systemctl stop {RUN_SOCKET}",
        f"{RUN_SOCKET} does not listen (ActiveState=inactive",
        f"systemctl restart {RUN_SOCKET}",
    ),
    "few-descriptors": Fault(
        "units._descriptors/1",
        f"mkdir -p {LXC.rpartition('/')[0]}; printf '[Service]\\nLimitNOFILE=8\\n' >{LXC};"
        f" systemctl daemon-reload; systemctl stop {TLS}",
        f"LimitNOFILE=8 of {TLS} is too low, so it refuses connections; it needs 512",
        f"echo LimitNOFILE=512; }} >/etc/systemd/system/{TLS}.d/zzzz-limitnofile.conf",
    ),
    "listener-cannot-start": Fault(
        "units._last_start/1",
        # Without the next start, during which the result of the last one is not known.
        drop_in(TLS, "[Service]", "BindPaths=/no/such/directory:/srv", "Restart=no")
        + f"; systemctl start {TLS} 2>/dev/null",
        f"{TLS} failed (Result=",
        "fix that cause",
        f"rm /etc/systemd/system/{TLS}.d/check.conf; systemctl daemon-reload; systemctl restart {TLS}",
    ),
    "run-socket-gone": Fault(
        "units._private_sockets/1",
        f"rm {stub.RUNTIME}/run.sock",
        "run.sock does not exist, so the listener cannot reach root",
        f"systemctl restart {RUN_SOCKET}",
    ),
    "run-socket-open": Fault(
        "units._private_sockets/2",
        f"chmod 666 {stub.RUNTIME}/run.sock",
        "run.sock has owner root, mode 666",
        f"systemctl restart {RUN_SOCKET}",
    ),
    "run-socket-open-by-a-drop-in": Fault(
        "units._private_sockets/2",
        drop_in(RUN_SOCKET, "[Socket]", "SocketMode=0666") + f"; systemctl restart {RUN_SOCKET}",
        "run.sock has owner root, mode 666",
        "SocketMode=0660",
    ),
    "run-socket-of-another-group": Fault(
        "units._private_sockets/3",
        f"chgrp daemon {stub.RUNTIME}/run.sock",
        "has group daemon, not twitch, so the listener cannot reach root",
        f"systemctl restart {RUN_SOCKET}",
    ),
    "run-socket-of-another-group-by-a-drop-in": Fault(
        "units._private_sockets/3",
        drop_in(RUN_SOCKET, "[Socket]", "SocketGroup=daemon") + f"; systemctl restart {RUN_SOCKET}",
        "has group daemon, not twitch, so the listener cannot reach root",
        "SocketGroup=twitch",
    ),
    "log-socket-stopped": Fault(
        "units._not_listening/3",
        f"systemctl stop {LOG_SOCKET}",
        f"{LOG_SOCKET} does not listen (ActiveState=inactive",
        f"systemctl restart {LOG_SOCKET}",
    ),
    "log-socket-gone": Fault(
        "units._private_sockets/1",
        f"rm {stub.RUNTIME}/log.sock",
        "log.sock does not exist, so the listener cannot reach the log reader",
        f"systemctl restart {LOG_SOCKET}",
    ),
    "log-reader-expects-another": Fault(
        "units._expected_listener/1",
        drop_in(LOG, "[Service]", "Environment=PUPPET_TWITCH_USER=other"),
        f"{LOG} expects the listener's user to be other, but it is twitch",
        "Environment=PUPPET_TWITCH_USER=twitch",
    ),
    "journal-stores-nothing": Fault(
        "journal._stored/1",
        "mkdir -p /etc/systemd/journald.conf.d;"
        " printf '[Journal]\\nStorage=none\\n' >/etc/systemd/journald.conf.d/site.conf;"
        " systemctl restart systemd-journald",
        "journald stores nothing (Storage=none in journald.conf)",
        "echo Storage=auto",
    ),
    "journal-of-root-alone": Fault(
        "journal._readable/1",
        "chgrp root /var/log/journal/*/system.journal",
        "system.journal cannot be read by group systemd-journal",
        "systemd-tmpfiles --create --prefix=/var/log/journal",
    ),
    "root-expects-another-listener": Fault(
        "units._expected_listener/1",
        drop_in(RUN, "[Service]", "Environment=PUPPET_TWITCH_USER=other"),
        "expects the listener's user to be other, but it is twitch",
        "Environment=PUPPET_TWITCH_USER=twitch",
    ),
    "port-taken": Fault(
        "port.check/1",
        THIEF,
        "(python3, user nobody) has opened 0.0.0.0:2023, not systemd",
        f"systemctl stop thief.service; systemctl restart {SOCKET}",
    ),
    # ---- Puppet
    "run-directory-open": Fault(
        "agent.check/1", f"chmod 777 {stub.RUNTIME}", "so no run can start", f"rm -rf {stub.RUNTIME}"
    ),
    "history-linked": Fault(
        "agent.check/2",
        f"rm -rf {stub.HISTORY}; ln -s /srv {stub.HISTORY}",
        "so no history of runs is kept",
        f"rm -rf {stub.HISTORY}",
    ),
    "settings": Fault(
        "agent.check/3",
        "echo 'runtimeout = soon' >>/etc/puppet/puppet.conf; rm -f /run/puppet-twitch/settings.json",
        "runtimeout",
        "config print --section agent as root",
        "sed -i /^runtimeout/d /etc/puppet/puppet.conf",
    ),
    "no-puppet": Fault(
        "agent.installed/1",
        config(f"{GRANTS}[puppet]\npath = /opt/none/puppet"),
        "no puppet at /opt/none/puppet",
        "[puppet] path",
        f"sed -i '/^path/d' {CONF}",
    ),
    "no-manifest": Fault(
        "agent._manifest/1",
        config(f"{GRANTS}[puppet]\ncommand = apply\nmanifest = /root/none.pp"),
        "the manifest /root/none.pp does not exist",
        "create /root/none.pp",
        "touch /root/none.pp",
    ),
    "manifest-writable": Fault(
        "files.only_root_writes/1",
        "touch /root/open.pp; chmod 666 /root/open.pp; "
        + config(f"{GRANTS}[puppet]\ncommand = apply\nmanifest = /root/open.pp"),
        "/root/open.pp has owner root, mode 666, so users other than root can change what root applies",
        "chmod go-w /root/open.pp",
    ),
    "run-stopped": Fault(
        "agent._locks/1",
        STUCK.format(
            start="systemd-run --quiet --unit=stuck /root/puppet 999;"
            " pid=$(systemctl show -P MainPID stuck.service)"
        ),
        "longer than its runtimeout of 3600 s allows",
        "systemctl stop stuck.service",
    ),
    "run-stopped-by-hand": Fault(
        "agent._locks/1",
        STUCK.format(start="setsid /root/puppet 999 >/dev/null 2>&1 & pid=$!"),
        "longer than its runtimeout of 3600 s allows",
        "kill -CONT",
    ),
    "masterless-run-stuck": Fault(
        "runs._stuck/1",
        "echo \"exec { '/bin/sleep 997': }\" >/root/slow.pp; "
        + config(f"{GRANTS}[puppet]\ncommand = apply\nmanifest = /root/slow.pp")
        + "\nrun=$(puppet-twitch trigger | grep -o '[0-9a-f]\\{32\\}');"
        " until pgrep -f '^/bin/sleep 997'; do sleep 0.1; done;"
        f' sed -i \'s/"started": *[0-9.]*/"started": 1764126001.0/\' {stub.RUNTIME}/runs/$run.json',
        "longer than a runtimeout of 3600 s allows",
        "systemctl stop ",
    ),
    "run-lock-unreadable": Fault(
        "agent._unreadable/1",
        f"mkdir -p {LOCKS}/agent_catalog_run.lock",
        "agent_catalog_run.lock cannot be read (not a regular file)",
        "mv ",
    ),
    "disabled-lock-unreadable": Fault(
        "agent._unreadable/1",
        f"mkdir -p {LOCKS}; mkfifo {LOCKS}/agent_disabled.lock",
        "agent_disabled.lock cannot be read (not a regular file), so puppet-twitch treats Puppet as disabled",
        "mv ",
    ),
    "hold-that-has-ended": Fault(
        "disabling.check/1",
        HELD.format(until="$(date -d '5 minutes ago' +%s)"),
        "Puppet is still disabled, although the hold of token:x has ended at 20",
        "puppet-twitch expire",
    ),
    "hold-without-a-timer": Fault(
        "disabling.check/2",
        HELD.format(until="$(date -d '5 minutes' +%s)"),
        "puppet-twitch-expiry.timer and /var/lib/puppet-twitch/disabled.json is missing, so that",
        "puppet-twitch expire",
    ),
    # ---- room
    "run-directory-full": Fault(
        "space.check/1",
        f"mount -t tmpfs -o size=1M,mode=755 x {stub.RUNTIME}; systemctl restart {RUN_SOCKET} {LOG_SOCKET};"
        f" dd if=/dev/zero of={stub.RUNTIME}/filler bs=4k 2>/dev/null",
        f"(mounted at {stub.RUNTIME}) is full: 0 KiB free",
        f"du -xah {stub.RUNTIME}",
        f"rm {stub.RUNTIME}/filler",
    ),
    "run-directory-without-inodes": Fault(
        "space.check/1",
        f"mount -t tmpfs -o size=1M,nr_inodes=4,mode=755 x {stub.RUNTIME};"
        f" systemctl restart {RUN_SOCKET} {LOG_SOCKET}",
        "has no free inodes: ",
        f"du -xah {stub.RUNTIME}",
        f"mount -o remount,nr_inodes=99 {stub.RUNTIME}",
    ),
    "puppet-read-only": Fault(
        "space.check/2",
        f"mkdir -p {LOCKS}; mount --bind {LOCKS} {LOCKS}; mount -o remount,bind,ro {LOCKS}",
        f"(mounted at {LOCKS}) is read-only, so Puppet cannot write",
        f"mount -o remount,rw {LOCKS}",
        f"mount -o remount,bind,rw {LOCKS}",
    ),
    # ---- the watch
    "watch-stopped": Fault(
        "watch.check/1",
        f"systemctl enable -q --runtime {WATCH}",
        f"{WATCH} is enabled and not active (inactive)",
        f"systemctl restart {WATCH}",
    ),
    "watch-fails": Fault(
        "watch.check/2",
        f"{drop_in(WATCH_SERVICE, '[Service]', 'ExecStart=', 'ExecStart=/bin/false')};"
        f" systemctl enable -q --runtime {WATCH}; systemctl start {WATCH}; systemctl start {WATCH_SERVICE}",
        f"{WATCH_SERVICE} failed (Result=exit-code)",
        f"journalctl -u {WATCH_SERVICE} has the error",
        f"rm -r /etc/systemd/system/{WATCH_SERVICE}.d; systemctl daemon-reload;"
        f" systemctl start {WATCH_SERVICE}",
    ),
    "watch-expects-another-group": Fault(
        "units._expected_listener/1",
        f"{drop_in(WATCH_SERVICE, '[Service]', 'Environment=PUPPET_TWITCH_GROUP=other')};"
        f" systemctl enable -q --runtime {WATCH}; systemctl start {WATCH}",
        f"{WATCH_SERVICE} expects the listener's group to be other, but it is twitch",
        "Environment=PUPPET_TWITCH_GROUP=twitch",
    ),
    "watch-of-another-directory": Fault(
        "watch._watched/1",
        f"{drop_in(WATCH, '[Path]', 'PathChanged=', 'PathChanged=/root/state')};"
        f" systemctl enable -q --runtime {WATCH}; systemctl start {WATCH}",
        f"{WATCH} does not watch {LOCKS}/agent_catalog_run.lock and {LOCKS}/agent_disabled.lock",
        f"mkdir -p /etc/systemd/system/{WATCH}.d",
    ),
    "no-directory-of-textfiles": Fault(
        "watch._textfile/1",
        f"{drop_in(WATCH_SERVICE, '[Service]', 'Environment=PUPPET_TWITCH_TEXTFILE=/root/prom/x.prom')};"
        f" systemctl enable -q --runtime {WATCH}; systemctl start {WATCH}",
        "/root/prom does not exist, so no metrics are written",
        "mkdir -p /root/prom",
    ),
    # ---- the callers
    "options-without-runs": Fault(
        "callers._without_effect/1",
        config("[access]\nanonymous = status\ntoken:deploy = tags environment=*"),
        "token:deploy: tags environment=* can have no effect without trigger or noop",
        "add trigger or noop to the line token:deploy in [access], or remove tags environment=* from it",
        f"sed -i '/^token:deploy/s/$/ trigger/' {CONF}",
    ),
    "certificates-without-tls": Fault(
        "callers.check/1",
        config("[access]\ncert:*.example.com = trigger"),
        "cert:*.example.com never applies: client certificates need TLS, which is off",
        "[tls] enabled = yes",
        f"printf '[tls]\\nenabled = yes\\n' >>{CONF}",
    ),
    "no-such-token": Fault(
        "callers._token_line/1",
        config("[access]\nanonymous = status\ntoken:deplyo = trigger"),
        "token:deplyo never applies: /etc/puppet-twitch/tokens has no such token",
        "puppet-twitch token deplyo",
        f"puppet-twitch token deplyo | tail -n 1 >>{access.TOKENS}",
    ),
    "pattern-never-applies": Fault(
        "callers._token_line/2",
        config("[access]\ntoken:dep* = trigger\ntoken:deploy = status"),
        "token:dep* never applies: every token it matches has a more specific line",
        "remove the line token:dep*",
        f"sed -i '/^token:dep\\*/d' {CONF}",
    ),
    # ---- TLS
    "no-drop-in": Fault(
        "certificates.check/1",
        f"rm {DROP_IN}; systemctl daemon-reload",
        "TLS: missing cert (no LoadCredential=)",
        "tls.conf",
        SET_UP,
    ),
    "no-key": Fault(
        "certificates.check/1",
        f"sed -i s,private_keys/,none/, {DROP_IN}; systemctl daemon-reload",
        "missing key (",
        "tls.conf",
        SET_UP,
    ),
    "credentials-emptied": Fault(
        "certificates._emptied/1",
        f"mkdir -p {LXC.rpartition('/')[0]}; printf '[Service]\\nLoadCredential=\\n' >{LXC};"
        " systemctl daemon-reload",
        f"TLS: {LXC} has an empty LoadCredential=",
        f"mv {DROP_IN} ",
    ),
    "ca-closed": Fault(
        "certificates.check/2",
        f"chmod 600 {pki.SSL}/certs/ca.pem",
        "ca.pem does not exist, or the listener may not read it",
        f"chmod o+r {pki.SSL}/certs/ca.pem",
    ),
    "ssl-closed": Fault(
        "certificates.check/2",
        f"chmod 700 {pki.SSL}",
        "ca.pem does not exist, or the listener may not read it",
        f"chmod o+x {pki.SSL}",
    ),
    "no-view-of-the-ca": Fault(
        "certificates.check/2",
        f"sed -i '/^TemporaryFileSystem/d; /^BindReadOnlyPaths/d' {DROP_IN}; systemctl daemon-reload",
        "ca.pem does not exist, or the listener may not read it",
        "tls.conf",
        SET_UP,
    ),
    "another-key": Fault(
        "certificates.check/3",
        f"{ELSEWHERE}; cp {CERT} {pki.CERTS}/own.pem; openssl genrsa -out {pki.CERTS}/own.key 2>/dev/null",
        "'cert' and 'key' do not fit",
        "tls.conf",
        SET_UP,
    ),
    "credentials-too-large": Fault(
        "certificates._size/1",
        f"mkdir -p {pki.CERTS}; cp {pki.SSL}/crl.pem {pki.CERTS}/large.pem;"
        f" yes '# padding' | head -c 1100000 >>{pki.CERTS}/large.pem;"
        f" echo LoadCredential=crl:{pki.CERTS}/large.pem >>{DROP_IN}; systemctl daemon-reload",
        "and systemd allows 1048576, so it cannot start (243/CREDENTIALS)",
        "remove LoadCredential=ca: and LoadCredential=crl:",
        f"sed -i '/^LoadCredential=crl:/d' {DROP_IN}; systemctl daemon-reload",
    ),
    "crl-expired": Fault(
        "certificates._verification/1",
        f"cp {pki.CERTS}/crl.pem {pki.SSL}/crl.pem",
        "fails verification with this CA and CRL: CRL has expired",
        "/usr/bin/puppet ssl bootstrap --waitforcert 0",
    ),
    "foreign-certificate": Fault(
        "certificates._verification/2",
        f"{ELSEWHERE}; {SELF.format(key=f'{pki.CERTS}/own.key', cert=f'{pki.CERTS}/own.pem')}",
        "fails verification with this CA and CRL: self-signed certificate",
        "tls.conf",
        SET_UP,
    ),
    "crl-of-another-ca-expired": Fault(
        "expiry.validity/1",
        f"{EXPIRED_CRL}; cat {pki.CERTS}/x.crl >>{pki.SSL}/crl.pem",
        f"the CRL {pki.SSL}/crl.pem expired on",
        "/usr/bin/puppet ssl bootstrap --waitforcert 0",
    ),
}

# The faults that need a certificate of the node, to be made or to be cured.
OF_TLS = {
    name: fault
    for name, fault in FAULTS.items()
    if fault.site.startswith(("certificates.", "expiry.", "crls.")) or name == "certificates-without-tls"
}
