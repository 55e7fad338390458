# make demo          boot a throwaway Debian machine with systemd, Puppet and puppet-twitch
# make demo-shell    open a root shell in that machine
# make demo-stop     delete that machine
# make demo-fleet    boot a puppetserver, PuppetDB and three nodes, and show puppet-twitch-fleet;
#                    demo-fleet-shell [ON=MACHINE], demo-fleet-stop
# make test          run all tests (root, on Debian 12)
# make check         run the quick tests: linters, units, unit tests, packages
# make bench         measure, beside a peer; takes five minutes on an otherwise idle machine
# make bench-fleet   measure puppet-twitch-fleet with 10,000 simulated nodes; takes a quarter of an hour
# make install       install on this machine, on any distribution with systemd; takes DESTDIR=
# make uninstall     remove what make install has installed
# make install-fleet, make uninstall-fleet
#                    the same for puppet-twitch-fleet, which needs no systemd
# make deb, make rpm, make dist, make module, make collection
#                    build packages for Debian, EL, Python, the Forge and Ansible, in dist/
#
# PREFIX cannot be chosen: the units name their paths, and nothing else looks into /usr/lib/puppet-twitch.

# The Python that a node runs: the distribution's, for python3-systemd, python3-h11 and python3-yaml.
PYTHON = /usr/bin/python3
PYTEST = $(PYTHON) -m pytest -q -p no:cacheprovider

LIB = $(DESTDIR)/usr/lib/puppet-twitch
UNITS = $(DESTDIR)/usr/lib/systemd/system
CATALOG = $(DESTDIR)/usr/lib/systemd/catalog
SYSUSERS = $(DESTDIR)/usr/lib/sysusers.d
# Drop-ins that an operator copies. Not below doc, which slim images leave out.
SHARE = $(DESTDIR)/usr/share/puppet-twitch
DOC = $(DESTDIR)/usr/share/doc/puppet-twitch
MAN = $(DESTDIR)/usr/share/man
# Where bash looks for it when the command is first completed.
COMPLETIONS = $(DESTDIR)/usr/share/bash-completion/completions
ETC = $(DESTDIR)/etc/puppet-twitch
NEEDRESTART = $(DESTDIR)/etc/needrestart/conf.d
# The operator's side has a tree of its own, with what it may import (tests/unit/test_boundary.py).
FLEET = $(DESTDIR)/usr/lib/puppet-twitch-fleet
FLEET_DOC = $(DESTDIR)/usr/share/doc/puppet-twitch-fleet
FLEET_TOP = $(addprefix twitch/,__init__.py arguments.py durations.py errors.py fields.py texts.py)

.PHONY: help install uninstall install-fleet uninstall-fleet
.PHONY: snippets deb rpm dist module collection reference
.PHONY: demo demo-shell demo-stop demo-fleet demo-fleet-shell demo-fleet-stop
.PHONY: tools prepared images check check-listener check-fleet check-unit check-rest
.PHONY: test test-agents test-module test-fleet test-faults test-nodes
.PHONY: bench bench-fleet

help:
	@sed -n 's/^# //p' Makefile | sed '/^PREFIX/,$$d'

# ---- install

install:
	@$(PYTHON) -c 'import h11, systemd.daemon, yaml' || { \
	    echo 'Install these packages first: python3-systemd python3-h11 python3-yaml'; exit 1; }
ifeq ($(DESTDIR),)
	@sh packaging/refuse-account.sh
	@sh packaging/remember-sockets.sh
endif
	install -d $(UNITS) $(CATALOG) $(SYSUSERS) $(SHARE)/prometheus $(DOC) $(ETC) $(NEEDRESTART) $(COMPLETIONS) $(DESTDIR)/usr/bin
	rm -rf $(LIB).new
	for file in $$(find twitch -path twitch/fleet -prune -o -name '*.py' -print); do \
	    install -d $(LIB).new/$${file%/*} && install -m 644 $$file $(LIB).new/$$file || exit 1; done
	install -m 644 units/tree.py $(LIB).new/__main__.py
	install -m 755 units/puppet-twitch $(DESTDIR)/usr/bin/puppet-twitch
	$(PYTHON) -I -m compileall -q -d /usr/lib/puppet-twitch $(LIB).new
	rm -rf $(LIB) && mv $(LIB).new $(LIB)
	install -m 644 units/*.socket units/*.service units/*.path $(UNITS)/
	install -d $(UNITS)/multi-user.target.wants
	ln -sf ../puppet-twitch-expiry.service $(UNITS)/multi-user.target.wants/
	install -m 644 units/puppet-twitch.sysusers $(SYSUSERS)/puppet-twitch.conf
	install -m 644 units/puppet-twitch.catalog $(CATALOG)/
	install -m 644 packaging/needrestart.conf $(NEEDRESTART)/puppet-twitch.conf
	install -m 644 packaging/puppet-twitch.bash $(COMPLETIONS)/puppet-twitch
	install -m 644 units/per-connection.conf units/tls.conf $(SHARE)/
	install -m 644 $(addprefix packaging/prometheus/puppet-twitch,.rules.yml -dashboard.json) $(SHARE)/prometheus/
	install -m 644 README.md NEWS.md LICENSE $(DOC)/
	ln -sfn ../../puppet-twitch/per-connection.conf ../../puppet-twitch/tls.conf ../../puppet-twitch/prometheus $(DOC)/
	install -d $(MAN)/man1 $(MAN)/man5 $(MAN)/man8
	install -m 644 packaging/man/puppet-twitch.1 $(MAN)/man1/
	install -m 644 packaging/man/puppet-twitch.conf.5 $(MAN)/man5/
	install -m 644 packaging/man/puppet-twitch.service.8 $(MAN)/man8/
	test -e $(ETC)/puppet-twitch.conf || install -m 644 units/puppet-twitch.conf $(ETC)/
ifeq ($(DESTDIR),)
	systemd-sysusers puppet-twitch.conf
	journalctl --update-catalog
	@sh packaging/restart-sockets.sh
	@echo 'Installed; nothing is enabled. To answer on port 2023, now and after a reboot:'
	@echo '  systemctl enable --now puppet-twitch.socket'
	@grep -q '^[a-z]' $(ETC)/puppet-twitch.conf || echo 'Anyone who reaches that port may then trigger runs, unless' \
	    '/etc/puppet-twitch/puppet-twitch.conf says otherwise.'
endif

# The sockets first, so that nothing starts meanwhile. A run that is under way continues to its end.
uninstall:
ifeq ($(DESTDIR),)
	@if { dpkg-query -W -f '$${db:Status-Status}\n' puppet-twitch | grep -qx installed || rpm -q puppet-twitch; } \
	    >/dev/null 2>&1; then echo 'puppet-twitch was installed as a package; remove that package' >&2; exit 1; fi
	-systemctl disable --now puppet-twitch.socket puppet-twitch-run.socket puppet-twitch-log.socket
	-systemctl disable --now puppet-twitch-watch.path
	-systemctl stop puppet-twitch.service 'puppet-twitch@*.service' 'puppet-twitch-log@*.service' \
	    puppet-twitch-watch.service
	sh packaging/stop-expiry.sh
	sh packaging/forget-runs.sh
endif
	rm -rf $(LIB) $(SHARE) $(DOC) $(ETC)
	rm -f $(DESTDIR)/usr/bin/puppet-twitch $(SYSUSERS)/puppet-twitch.conf $(CATALOG)/puppet-twitch.catalog
	rm -f $(NEEDRESTART)/puppet-twitch.conf $(COMPLETIONS)/puppet-twitch
	-rmdir --parents --ignore-fail-on-non-empty $(NEEDRESTART) $(COMPLETIONS)
	rm -f $(MAN)/man1/puppet-twitch.1 $(MAN)/man5/puppet-twitch.conf.5 $(MAN)/man8/puppet-twitch.service.8
	rm -f $(UNITS)/puppet-twitch.socket $(UNITS)/puppet-twitch-run.socket $(UNITS)/puppet-twitch-log.socket
	rm -f $(UNITS)/puppet-twitch.service $(UNITS)/puppet-twitch@.service $(UNITS)/puppet-twitch-run@.service
	rm -f $(UNITS)/puppet-twitch-watch.path $(UNITS)/puppet-twitch-watch.service
	rm -f $(UNITS)/puppet-twitch-log@.service
	rm -f $(UNITS)/puppet-twitch-expiry.service $(UNITS)/multi-user.target.wants/puppet-twitch-expiry.service
ifeq ($(DESTDIR),)
	rm -f /var/lib/prometheus/node-exporter/puppet-twitch.prom
	rm -rf /run/puppet-twitch /var/lib/puppet-twitch /etc/systemd/system/puppet-twitch*.d
	systemctl daemon-reload
	journalctl --update-catalog
	if getent passwd twitch | grep -q ':Puppet Twitch listener:'; then userdel twitch; fi
endif

# No systemd, no user and no configuration: one program with its modules.
install-fleet:
ifeq ($(DESTDIR),)
	@$(PYTHON) -c 'import aiohttp, rich' || { \
	    echo 'Install these packages first: python3-aiohttp python3-rich'; exit 1; }
endif
	install -d $(FLEET_DOC) $(COMPLETIONS) $(MAN)/man1 $(DESTDIR)/usr/bin
	rm -rf $(FLEET).new
	for file in $(FLEET_TOP) $$(find twitch/fleet -type f ! -name '*.pyc'); do \
	    install -d $(FLEET).new/$${file%/*} && install -m 644 $$file $(FLEET).new/$$file || exit 1; done
	install -m 644 packaging/fleet/tree.py $(FLEET).new/__main__.py
	install -m 755 packaging/fleet/puppet-twitch-fleet $(DESTDIR)/usr/bin/puppet-twitch-fleet
	$(PYTHON) -I -m compileall -q -d /usr/lib/puppet-twitch-fleet $(FLEET).new
	rm -rf $(FLEET) && mv $(FLEET).new $(FLEET)
	install -m 644 packaging/puppet-twitch-fleet.bash $(COMPLETIONS)/puppet-twitch-fleet
	install -m 644 packaging/man/puppet-twitch-fleet.1 $(MAN)/man1/
	install -m 644 README.md NEWS.md LICENSE $(FLEET_DOC)/

uninstall-fleet:
ifeq ($(DESTDIR),)
	@if { dpkg-query -W -f '$${db:Status-Status}\n' puppet-twitch-fleet | grep -qx installed || \
	    rpm -q puppet-twitch-fleet; } >/dev/null 2>&1; then \
	    echo 'puppet-twitch-fleet was installed as a package; remove that package' >&2; exit 1; fi
endif
	rm -rf $(FLEET) $(FLEET_DOC)
	rm -f $(DESTDIR)/usr/bin/puppet-twitch-fleet $(COMPLETIONS)/puppet-twitch-fleet
	rm -f $(MAN)/man1/puppet-twitch-fleet.1
	-rmdir --parents --ignore-fail-on-non-empty $(COMPLETIONS)

# ---- packages

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' twitch/__init__.py)
SOURCE = Makefile README.md NEWS.md LICENSE twitch units packaging
NAME = puppet-twitch-$(VERSION)
DEB = build/deb/$(NAME)

# Fill in a file of packaging/: the version, and in place of @FORGET_RUNS@ the lines of forget-runs.sh below
# its header, and so on.
PASTE = -e '/@$(1)@/{' -e 'r build/$(2)' -e d -e '}'
FILL = -e 's/@VERSION@/$(VERSION)/' $(call PASTE,FORGET_RUNS,forget-runs) \
    $(call PASTE,REFUSE_ACCOUNT,refuse-account) $(call PASTE,REMEMBER_SOCKETS,remember-sockets) \
    $(call PASTE,RESTART_SOCKETS,restart-sockets) $(call PASTE,REMOVE_UNPACKAGED,remove-unpackaged) \
    $(call PASTE,STOP_EXPIRY,stop-expiry) $(call PASTE,REMOVE_UNPACKAGED_FLEET,remove-unpackaged-fleet)
snippets:
	mkdir -p build
	for name in forget-runs refuse-account remember-sockets remove-unpackaged remove-unpackaged-fleet \
	    restart-sockets stop-expiry; do sed '1,/^$$/d' packaging/$$name.sh >build/$$name || exit 1; done

BUILD_DEPENDS = $$(sed -n '/^Build-Depends/,/^Standards/s/^ \([a-z0-9-]*\).*/\1/p' packaging/debian/control)
deb: snippets
	@command -v dpkg-buildpackage >/dev/null && command -v dh >/dev/null || \
	    { echo "make deb needs: apt install dpkg-dev" $(BUILD_DEPENDS) >&2; exit 1; }
	rm -rf build/deb
	mkdir -p $(DEB) dist
	cp -r $(SOURCE) packaging/debian $(DEB)/
	for file in changelog puppet-twitch.preinst puppet-twitch.postinst puppet-twitch.prerm \
	    puppet-twitch-fleet.preinst; do \
	    sed $(FILL) -e "s/@DATE@/$$(LC_ALL=C date -R -r NEWS.md)/" \
	        packaging/debian/$$file.in >$(DEB)/debian/$$file && rm $(DEB)/debian/$$file.in || exit 1; done
	cd $(DEB) && dpkg-buildpackage --build=binary --no-sign
	mv build/deb/puppet-twitch_$(VERSION)_all.deb build/deb/puppet-twitch-fleet_$(VERSION)_all.deb dist/

# Any system with rpmbuild can build it; --nodeps, because only EL has the build requirements as rpms.
rpm: snippets
	rm -rf build/rpm
	mkdir -p build/rpm/$(NAME) dist
	cp -r $(SOURCE) build/rpm/$(NAME)/
	tar --create --gzip --directory=build/rpm --file=build/rpm/$(NAME).tar.gz $(NAME)
	sed $(FILL) -e "s/@DATE@/$$(LC_ALL=C date -r NEWS.md '+%a %b %d %Y')/" \
	    packaging/puppet-twitch.spec.in >build/rpm/puppet-twitch.spec
	rpmbuild -bb --nodeps --define '_topdir $(CURDIR)/build/rpm/top' \
	    --define '_sourcedir $(CURDIR)/build/rpm' build/rpm/puppet-twitch.spec
	mv build/rpm/top/RPMS/noarch/$(NAME)-1.noarch.rpm \
	    build/rpm/top/RPMS/noarch/puppet-twitch-fleet-$(VERSION)-1.noarch.rpm dist/

# In a copy, because setuptools leaves files behind. The wheel has only Python; the sdist has the units too.
dist:
	rm -rf build/dist
	mkdir -p build/dist dist
	cp -r $(SOURCE) ansible-collection puppet-module pyproject.toml setup.cfg packaging/MANIFEST.in build/dist/
	cd build/dist && $(PYTHON) -c 'from setuptools import build_meta as build; \
	    build.build_sdist("$(CURDIR)/dist"); build.build_wheel("$(CURDIR)/dist")'

# The archive that the Forge and `puppet module install FILE` take.
MODULE = puppettwitch-twitch-$(VERSION)
module:
	rm -rf build/module
	mkdir -p build/module/$(MODULE) dist
	cd puppet-module/twitch && cp -r README.md REFERENCE.md metadata.json hiera.yaml \
	    data files lib manifests plans tasks templates types $(CURDIR)/LICENSE $(CURDIR)/build/module/$(MODULE)/
	rm -rf build/module/$(MODULE)/files/bolt_tasks/__pycache__
	tar --create --gzip --directory=build/module --file=dist/$(MODULE).tar.gz \
	    --owner=root:0 --group=root:0 $(MODULE)

# The archive that Galaxy and `ansible-galaxy collection install FILE` take. In a copy, because the archive has
# every file of the directory.
collection:
	rm -rf build/collection
	mkdir -p build/collection dist
	cp -r ansible-collection build/collection/node
	find build/collection -name __pycache__ -prune -exec rm -r {} +
	cd build/collection/node && ansible-galaxy collection build --force --output-path $(CURDIR)/dist >/dev/null

# The module's REFERENCE.md, from its comments; in a copy, because puppet-strings leaves files behind.
reference:
	rm -rf build/reference
	mkdir -p build
	cp -r puppet-module/twitch build/reference
	cd build/reference && RUBYOPT=-W0 puppet strings generate --format markdown --out REFERENCE.md
	cp build/reference/REFERENCE.md puppet-module/twitch/

# ---- demo

demo:
	@tests/prepare lab
	@tests/lab/build debian12
	@tests/lab/demo start
demo-shell:
	@tests/lab/demo shell
demo-stop:
	@tests/lab/demo stop

demo-fleet:
	@tests/prepare lab
	@tests/lab/build debian13-servers debian13 debian12
	@tests/lab/demo fleet start
demo-fleet-shell:
	@tests/lab/demo fleet shell $(if $(ON),--on=$(ON))
demo-fleet-stop:
	@tests/lab/demo fleet stop

# ---- test

VENV = build/venv

tools:
	@tests/prepare tests
$(VENV)/ready: tests/requirements.txt | tools
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@
ANSIBLE = build/venv-ansible
$(ANSIBLE)/ready: tests/requirements-ansible.txt tests/prepare_ansible | tools
	tests/prepare_ansible
prepared:
	@$(MAKE) --no-print-directory -j2 $(VENV)/ready $(ANSIBLE)/ready
images: | tools
	@tests/lab/build

# All at a time on two cores, because many tests of the listener and of the fleet wait.
CHECKS = check-rest check-fleet check-listener check-unit
check: prepared
	$(MAKE) --no-print-directory -j4 --output-sync=target $(CHECKS)

CHECK = PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PYTEST)
LISTENER = tests/unit/listener
OF_OPERATORS = tests/unit/fleet tests/unit/drivers
check-listener:
	$(CHECK) $(LISTENER)
check-fleet:
	$(CHECK) $(OF_OPERATORS)
check-unit:
	$(CHECK) $(addprefix --ignore=,$(LISTENER) $(OF_OPERATORS)) tests/unit
check-rest:
	$(CHECK) tests/lint tests/units tests/module

# All at a time, each in a lab of its own, on two cores: mostly a test waits for one Puppet, which uses
# one core, and some wait for times of puppet-twitch. The first two labs have a puppetserver, and their files are
# divided by CPU time; that of the fleet has PuppetDB as well, and waits for two minutes in all. Those without a
# server wait for most of their time, and are divided by it.
E2E = $(sort $(wildcard tests/e2e/test_*.py))
AGENTS = $(filter $(addprefix tests/e2e/test_,agent_% access_tls% access_check%),$(E2E))
OF_MODULE = $(filter $(addprefix tests/e2e/test_,module_% site_tls.py site_verdicts.py site_by_hand.py),$(E2E))
OF_FLEET = $(filter tests/e2e/test_fleet_%,$(E2E))
OF_FAULTS = $(filter-out $(AGENTS),$(filter $(addprefix tests/e2e/test_,access_% boundary.py check_% demo.py \
    disable.py fault_% floor_% newest_%),$(E2E)))
LABS = test-agents test-module test-fleet test-faults test-nodes
test: prepared
	$(MAKE) --no-print-directory -j5 --output-sync=target images $(CHECKS)
	$(MAKE) --no-print-directory -j5 --output-sync=target $(LABS)
	@tests/lab/build --not-built

test-agents:
	tests/lab/enter $(PYTEST) --durations=10 $(AGENTS)
test-module:
	tests/lab/enter $(PYTEST) --durations=10 $(OF_MODULE)
test-nodes:
	tests/lab/enter $(PYTEST) --durations=10 $(filter-out $(AGENTS) $(OF_MODULE) $(OF_FLEET) $(OF_FAULTS),$(E2E))
test-faults:
	tests/lab/enter $(PYTEST) --durations=10 $(OF_FAULTS)
test-fleet:
	tests/lab/enter $(PYTEST) --durations=10 $(OF_FLEET)

# ---- measure

# To measure only a part: make bench BENCH='--quick loads'
bench:
	@tests/prepare bench
	@tests/lab/build debian12-bench
	@tests/lab/enter $(PYTHON) -m tests.bench $(BENCH)

# To measure only a part: make bench-fleet BENCH='--quick tls peers'
bench-fleet:
	@tests/prepare bench-fleet
	@test $$(id -u) != 0 || tests/lab/build debian13-servers
	@$(PYTHON) -m tests.bench_fleet $(BENCH)
