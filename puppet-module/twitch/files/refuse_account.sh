#!/bin/sh
# Fail if the listener's user can log in, because it could trigger runs as any caller; or if the group `twitch`
# has other members, because they could read all runs. A site that names another group may share that group. The
# package's own script does the same for an account called `twitch` (refuse-account.sh).
#
# TWITCH_USER and TWITCH_GROUP are the names.
set -eu

# A user that does not exist has an empty line here, and an account of passwd(5) without a shell has /bin/sh.
account=$(getent passwd "$TWITCH_USER" || true)
case $account in
    '' | */nologin | */false) ;;
    *)
        echo "user $TWITCH_USER exists and can log in; rename it, or set twitch::user and twitch::group"
        exit 1
        ;;
esac
if test "$TWITCH_GROUP" = twitch; then
    members=$(getent group twitch | cut -d: -f4 || true)
    case $members in
        '' | "$TWITCH_USER") ;;
        *)
            echo "group twitch has other members: $members; set twitch::group"
            exit 1
            ;;
    esac
fi
