#!/bin/sh
# Before a package is installed for the first time, remove what `make install` has put there.
# The Makefile pastes these lines into the scripts of both packages, in place of @REMOVE_UNPACKAGED@.

# The package overwrites files of the same name only. Modules of another version would stay, and man(1) would
# show the page that is not compressed. Configuration, units and history stay.
rm -rf /usr/lib/puppet-twitch /usr/share/puppet-twitch /usr/share/doc/puppet-twitch
rm -f /usr/share/man/man1/puppet-twitch.1 /usr/share/man/man5/puppet-twitch.conf.5 \
    /usr/share/man/man8/puppet-twitch.service.8
