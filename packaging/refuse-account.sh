#!/bin/sh
# Refuse to install puppet-twitch on a node where the account `twitch` is somebody else's.
# The Makefile pastes these lines into the scripts of both packages, in place of @REFUSE_ACCOUNT@.

# The listener's account can ask root for runs in the name of any caller. A node whose listener has another
# user, by a drop-in, does not use the account `twitch`.
if ! grep -qs '^User=' /etc/systemd/system/puppet-twitch.service.d/*.conf \
    /etc/systemd/system/puppet-twitch@.service.d/*.conf; then
    refused=
    case $(getent passwd twitch | cut -d: -f7) in
        */nologin | */false) ;;
        *)
            if getent passwd twitch >/dev/null; then
                refused='the user twitch can log in, and could trigger Puppet runs as any caller'
            fi
            ;;
    esac
    case $(getent group twitch | cut -d: -f4) in
        '' | twitch) ;;
        *) refused="${refused:-the group twitch has other members, who could read all runs}" ;;
    esac
    if [ "$refused" ]; then
        echo "puppet-twitch is not installed: $refused. Rename that account, or give the listener another" \
            "one: puppet-twitch.service(8)." >&2
        exit 1
    fi
fi
