#!/bin/sh
# Before the package of the fleet is installed for the first time, remove what `make install-fleet` has put
# there. The Makefile pastes these lines into the scripts of both packages, in place of
# @REMOVE_UNPACKAGED_FLEET@.

# Modules of another version would stay, and man(1) would show the page that is not compressed.
rm -rf /usr/lib/puppet-twitch-fleet /usr/share/doc/puppet-twitch-fleet
rm -f /usr/share/man/man1/puppet-twitch-fleet.1
