# make demo          try it: a throwaway Debian machine with systemd, Puppet and puppet-twitch
# make demo-shell    a root shell in that machine
# make demo-stop     throw it away
# make test          all tests (root, on Debian 12)
# make bench         measure it, beside a peer; five minutes, and quiet ones, please
# make check         the quick ones: linters, units, unit tests
# make install       onto this machine, for any distribution with systemd; DESTDIR= is honoured
# make uninstall     and off it again
# make deb, make rpm, make dist, make module
#                    packages for Debian, EL, Python and the Forge, into dist/
#
# PREFIX is not a choice: the units name their paths, and nothing else looks into /usr/lib/puppet-twitch.

# What a node runs: the distribution's Python, which has python3-systemd, python3-h11, python3-yaml.
PYTHON = /usr/bin/python3
PYTEST = $(PYTHON) -m pytest -q -p no:cacheprovider

LIB = $(DESTDIR)/usr/lib/puppet-twitch
UNITS = $(DESTDIR)/usr/lib/systemd/system
CATALOG = $(DESTDIR)/usr/lib/systemd/catalog
SYSUSERS = $(DESTDIR)/usr/lib/sysusers.d
DOC = $(DESTDIR)/usr/share/doc/puppet-twitch
MAN = $(DESTDIR)/usr/share/man
ETC = $(DESTDIR)/etc/puppet-twitch

.PHONY: help install uninstall deb rpm dist module reference demo demo-shell demo-stop bench check test test-with-server test-without-server tools images

help:
	@sed -n 's/^# //p' Makefile | sed '/^PREFIX/,$$d'

# ---- onto a machine

install:
	@$(PYTHON) -c 'import h11, systemd.daemon, yaml' || { \
	    echo 'Install what it runs with first: python3-systemd python3-h11 python3-yaml'; exit 1; }
	install -d $(UNITS) $(CATALOG) $(SYSUSERS) $(DOC) $(ETC) $(DESTDIR)/usr/bin
	rm -rf $(LIB).new
	for file in $$(find twitch -name '*.py'); do \
	    install -d $(LIB).new/$${file%/*} && install -m 644 $$file $(LIB).new/$$file || exit 1; done
	install -m 644 units/tree.py $(LIB).new/__main__.py
	install -m 755 units/puppet-twitch $(DESTDIR)/usr/bin/puppet-twitch
	$(PYTHON) -I -m compileall -q -d /usr/lib/puppet-twitch $(LIB).new
	rm -rf $(LIB) && mv $(LIB).new $(LIB)
	install -m 644 units/*.socket units/*.service $(UNITS)/
	install -m 644 units/puppet-twitch.sysusers $(SYSUSERS)/puppet-twitch.conf
	install -m 644 units/puppet-twitch.catalog $(CATALOG)/
	install -m 644 README.md NEWS.md LICENSE units/per-connection.conf units/tls.conf $(DOC)/
	install -d $(MAN)/man1 $(MAN)/man5 $(MAN)/man8
	install -m 644 packaging/man/puppet-twitch.1 $(MAN)/man1/
	install -m 644 packaging/man/puppet-twitch.conf.5 $(MAN)/man5/
	install -m 644 packaging/man/puppet-twitch.service.8 $(MAN)/man8/
	test -e $(ETC)/puppet-twitch.conf || install -m 644 units/puppet-twitch.conf $(ETC)/
ifeq ($(DESTDIR),)
	systemd-sysusers puppet-twitch.conf
	journalctl --update-catalog
	systemctl daemon-reload
	@echo 'Installed, and nothing enabled. To answer on port 2023, now and after a reboot:'
	@echo '  systemctl enable --now puppet-twitch.socket'
endif

# The sockets go first, so that nothing starts meanwhile. A run that is under way goes on to its end;
# without its unit file nobody would know that 2, of Puppet, is a success, so systemd shall forget it
# when the unit has ended. Its process ends earlier, and no run takes a day.
uninstall:
ifeq ($(DESTDIR),)
	@if { dpkg-query -W -f '$${db:Status-Status}\n' puppet-twitch | grep -qx installed || rpm -q puppet-twitch; } \
	    >/dev/null 2>&1; then echo 'puppet-twitch was installed by its package, which has to remove it' >&2; exit 1; fi
	-systemctl disable --now puppet-twitch.socket puppet-twitch-run.socket
	-systemctl stop puppet-twitch.service 'puppet-twitch@*.service'
	-runs="'puppet-twitch-run@*.service'"; systemd-run --quiet --collect --property=RuntimeMaxSec=1d sh -c " \
	    while systemctl list-units --no-legend --state=activating,active,deactivating $$runs | grep -q .; \
	    do sleep 1; done; systemctl reset-failed $$runs"
endif
	rm -rf $(LIB) $(DOC) $(ETC)
	rm -f $(DESTDIR)/usr/bin/puppet-twitch $(SYSUSERS)/puppet-twitch.conf $(CATALOG)/puppet-twitch.catalog
	rm -f $(MAN)/man1/puppet-twitch.1 $(MAN)/man5/puppet-twitch.conf.5 $(MAN)/man8/puppet-twitch.service.8
	rm -f $(UNITS)/puppet-twitch.socket $(UNITS)/puppet-twitch-run.socket
	rm -f $(UNITS)/puppet-twitch.service $(UNITS)/puppet-twitch@.service $(UNITS)/puppet-twitch-run@.service
ifeq ($(DESTDIR),)
	rm -rf /run/puppet-twitch /var/lib/puppet-twitch /etc/systemd/system/puppet-twitch*.d
	systemctl daemon-reload
	journalctl --update-catalog
	if getent passwd twitch | grep -q ':Puppet Twitch listener:'; then userdel twitch; fi
endif

# ---- packages

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' twitch/__init__.py)
SOURCE = Makefile README.md NEWS.md LICENSE twitch units packaging
NAME = puppet-twitch-$(VERSION)
DEB = build/deb/$(NAME)

deb:
	rm -rf build/deb
	mkdir -p $(DEB) dist
	cp -r $(SOURCE) packaging/debian $(DEB)/
	sed -e 's/@VERSION@/$(VERSION)/' -e "s/@DATE@/$$(LC_ALL=C date -R -r NEWS.md)/" \
	    packaging/debian/changelog.in >$(DEB)/debian/changelog
	rm $(DEB)/debian/changelog.in
	cd $(DEB) && dpkg-buildpackage --build=binary --no-sign
	mv build/deb/puppet-twitch_$(VERSION)_all.deb dist/

# Built on any system with rpmbuild; --nodeps, because only EL has what the build requires as rpms.
rpm:
	rm -rf build/rpm
	mkdir -p build/rpm/$(NAME) dist
	cp -r $(SOURCE) build/rpm/$(NAME)/
	tar --create --gzip --directory=build/rpm --file=build/rpm/$(NAME).tar.gz $(NAME)
	sed -e 's/@VERSION@/$(VERSION)/' -e "s/@DATE@/$$(LC_ALL=C date -r NEWS.md '+%a %b %d %Y')/" \
	    packaging/puppet-twitch.spec.in >build/rpm/puppet-twitch.spec
	rpmbuild -bb --nodeps --define '_topdir $(CURDIR)/build/rpm/top' \
	    --define '_sourcedir $(CURDIR)/build/rpm' build/rpm/puppet-twitch.spec
	mv build/rpm/top/RPMS/noarch/$(NAME)-1.noarch.rpm dist/

# In a copy, which setuptools may litter. The wheel has the Python alone; units come with the sdist.
dist:
	rm -rf build/dist
	mkdir -p build/dist dist
	cp -r $(SOURCE) puppet-module pyproject.toml setup.cfg packaging/MANIFEST.in build/dist/
	cd build/dist && $(PYTHON) -c 'from setuptools import build_meta as build; \
	    build.build_sdist("$(CURDIR)/dist"); build.build_wheel("$(CURDIR)/dist")'

# What the Forge takes, and `puppet module install FILE`.
MODULE = puppettwitch-twitch-$(VERSION)
module:
	rm -rf build/module
	mkdir -p build/module/$(MODULE) dist
	cd puppet-module/twitch && cp -r README.md REFERENCE.md metadata.json hiera.yaml \
	    data functions manifests templates types $(CURDIR)/LICENSE $(CURDIR)/build/module/$(MODULE)/
	tar --create --gzip --directory=build/module --file=dist/$(MODULE).tar.gz \
	    --owner=root:0 --group=root:0 $(MODULE)

# The module's REFERENCE.md, from its comments; in a copy, which puppet-strings litters.
reference:
	rm -rf build/reference
	mkdir -p build
	cp -r puppet-module/twitch build/reference
	cd build/reference && RUBYOPT=-W0 puppet strings generate --format markdown --out REFERENCE.md
	cp build/reference/REFERENCE.md puppet-module/twitch/

# ---- try it

demo:
	@tests/prepare lab
	@tests/lab/build debian12
	@tests/lab/demo start
demo-shell:
	@tests/lab/demo shell
demo-stop:
	@tests/lab/demo stop

# ---- test it

VENV = build/venv

tools:
	@tests/prepare tests
$(VENV)/ready: tests/requirements.txt | tools
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	$(VENV)/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary gunicorn \
	    --dest $(VENV)/suites gunicorn==27.0.1
	touch $@
images: | tools
	@tests/lab/build

check: $(VENV)/ready
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PYTEST) tests/lint tests/units tests/unit tests/module

# Two at a time, in a lab each: most of the time a test waits for one Puppet, which uses one core.
WITH_SERVER = $(wildcard $(addprefix tests/e2e/,test_agent_*.py test_module_*.py test_access_tls*.py test_access_check*.py))
test: $(VENV)/ready
	$(MAKE) --no-print-directory -j2 --output-sync=target check images
	$(MAKE) --no-print-directory -j2 --output-sync=target test-with-server test-without-server

test-with-server:
	tests/lab/enter $(PYTEST) --durations=10 $(WITH_SERVER)
test-without-server:
	tests/lab/enter $(PYTEST) --durations=10 $(addprefix --ignore=,$(WITH_SERVER)) tests/e2e

# ---- measure it

# After `bench`, what to measure: make bench BENCH='--quick loads'
bench:
	@tests/prepare bench
	@tests/lab/build debian12-bench
	@tests/lab/enter $(PYTHON) -m tests.bench $(BENCH)
