# make demo      try it: a throwaway Debian machine with systemd, Puppet and puppet-twitch
# make test      all tests (root; Debian 12)
# make install   onto this machine, for any systemd distribution; DESTDIR= is honoured
#
# PREFIX is not a choice: the units name their paths, and /usr/lib is where the distribution's
# Python finds nothing by accident.

PYTHON ?= /usr/bin/python3
LIB = $(DESTDIR)/usr/lib/puppet-twitch
UNITS = $(DESTDIR)/usr/lib/systemd/system
DOC = $(DESTDIR)/usr/share/doc/puppet-twitch

.PHONY: all install uninstall
all:
	@sed -n 's/^# \?//p;/^$$/q' Makefile

install:
	install -d $(LIB)/twitch $(UNITS) $(DOC) $(DESTDIR)/usr/bin $(DESTDIR)/usr/lib/sysusers.d \
	    $(DESTDIR)/usr/lib/systemd/catalog $(DESTDIR)/etc/puppet-twitch
	install -m 644 twitch/*.py $(LIB)/twitch/
	printf 'import sys\n\nfrom twitch.__main__ import main\n\nsys.exit(main())\n' >$(LIB)/__main__.py
	printf '#!/bin/sh\nexec /usr/bin/python3 -I /usr/lib/puppet-twitch "$$@"\n' >$(DESTDIR)/usr/bin/puppet-twitch
	chmod 644 $(LIB)/__main__.py
	chmod 755 $(DESTDIR)/usr/bin/puppet-twitch
	$(PYTHON) -I -m compileall -q -d /usr/lib/puppet-twitch $(LIB)
	install -m 644 units/*.socket units/*.service $(UNITS)/
	install -m 644 units/puppet-twitch.sysusers $(DESTDIR)/usr/lib/sysusers.d/puppet-twitch.conf
	install -m 644 units/puppet-twitch.catalog $(DESTDIR)/usr/lib/systemd/catalog/
	install -m 644 README.md NEWS.md LICENSE units/per-connection.conf $(DOC)/
	test -e $(DESTDIR)/etc/puppet-twitch/puppet-twitch.conf || \
	    install -m 644 units/puppet-twitch.conf $(DESTDIR)/etc/puppet-twitch/
