"""Where Puppet is and what its settings are: asked once, and again when the answer may be another."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Callable, Optional

import pytest

from tests.unit.fake_puppet import FakePuppet
from twitch.errors import PuppetError
from twitch.root import puppet, settings
from twitch.root.settings import SETTINGS, Settings

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def fake(tmp_path: Path) -> FakePuppet:
    return FakePuppet(tmp_path / "puppet")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "settings.json"


def ask(fake: FakePuppet, cache: Path) -> Settings:
    return settings.load(os.fspath(fake.path), os.fspath(cache), ENVIRONMENT)


# ---- the command


def test_the_configured_command_is_taken(fake: FakePuppet) -> None:
    assert puppet.find(os.fspath(fake.path)) == os.fspath(fake.path)


def test_the_vendors_command_comes_before_the_distributions(
    fake: FakePuppet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = FakePuppet(tmp_path / "second")
    usual = (os.fspath(tmp_path / "missing"), os.fspath(second.path), os.fspath(fake.path))
    monkeypatch.setattr(puppet, "USUAL_PATHS", usual)
    assert puppet.find() == os.fspath(second.path)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch], ids=["a-directory", "not-executable"])
def test_what_cannot_be_executed_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "puppet"
    make(path)
    with pytest.raises(PuppetError, match=f"{path} is not an executable file"):
        puppet.find(os.fspath(path))


def test_where_it_was_looked_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puppet, "USUAL_PATHS", ("/nowhere/a", "/nowhere/b"))
    with pytest.raises(PuppetError, match=r"no puppet at /nowhere/a or /nowhere/b.*\[puppet\] path"):
        puppet.find()


# ---- settings


def test_it_is_asked_for_the_agents_settings_in_one_go(fake: FakePuppet, cache: Path) -> None:
    assert ask(fake, cache) == fake.settings
    assert fake.asked() == [["config", "print", "--section", "agent", *SETTINGS]]


def test_a_value_may_contain_what_separates_it(fake: FakePuppet, cache: Path) -> None:
    fake.tell(logdest="/var/log/a = b.log")
    assert ask(fake, cache).logdest == "/var/log/a = b.log"


def test_it_is_asked_once(fake: FakePuppet, cache: Path) -> None:
    assert [ask(fake, cache) for _ in range(3)] == [fake.settings] * 3
    assert len(fake.asked()) == 1


def test_what_is_kept_is_roots_alone(fake: FakePuppet, cache: Path) -> None:
    ask(fake, cache)
    assert cache.stat().st_mode & 0o777 == 0o600
    assert set(os.listdir(cache.parent)) == {"puppet", "settings.json"}  # no draft is left behind


def keeps_its_time(path: Path) -> None:
    """As a backup restores a file: other content, same size, same time."""
    before = path.stat()
    path.with_name("restored").write_bytes(path.read_bytes())
    path.with_name("restored").chmod(before.st_mode)
    os.utime(path.with_name("restored"), ns=(before.st_atime_ns, before.st_mtime_ns))
    path.with_name("restored").rename(path)


CHANGES: dict[str, Callable[[FakePuppet], object]] = {
    "puppet.conf-written": lambda fake: fake.conf.write_text("[agent]\nnoop = true\n"),
    "puppet.conf-restored": lambda fake: keeps_its_time(fake.conf),
    "puppet.conf-removed": lambda fake: fake.conf.unlink(),
    "puppet-upgraded": lambda fake: fake.path.write_text(fake.path.read_text() + "\n"),
    "puppet-reinstalled": lambda fake: keeps_its_time(fake.path),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_is_asked_again_when_something_has_changed(
    fake: FakePuppet, cache: Path, change: Callable[[FakePuppet], object]
) -> None:
    ask(fake, cache)
    change(fake)
    fake.tell(runtimeout="7")
    assert [ask(fake, cache).runtimeout for _ in range(2)] == ["7", "7"]
    assert len(fake.asked()) == 2


def test_what_is_told_while_something_changes_is_not_kept(fake: FakePuppet, cache: Path) -> None:
    edits = f"open({os.fspath(fake.conf)!r}, 'a').write('# changed')\n"
    fake.path.write_text(fake.path.read_text().replace("if sys.argv[1]", f"{edits}if sys.argv[1]"))
    assert [ask(fake, cache) for _ in range(2)] == [fake.settings] * 2
    assert len(fake.asked()) == 2


def test_the_sites_own_options_count_where_they_move_what_is_looked_at(fake: FakePuppet, cache: Path) -> None:
    def asked_with(options: str) -> list[str]:
        site = {**ENVIRONMENT, "PUPPET_EXTRA_OPTS": options}
        settings.load(os.fspath(fake.path), os.fspath(cache), site)
        return fake.asked()[-1][4 : -len(SETTINGS)]

    assert asked_with("--noop --verbose --server puppet") == []
    assert asked_with("--vardir /srv/a --noop --confdir=/srv/b") == ["--vardir=/srv/a", "--confdir=/srv/b"]
    assert asked_with("--statedir '/srv/with space'") == ["--statedir=/srv/with space"]
    assert len(fake.asked()) == 3
    assert asked_with("--statedir '/srv/with space' -v") == ["--statedir=/srv/with space"]
    assert len(fake.asked()) == 3


def test_another_command_is_asked_for_itself(fake: FakePuppet, cache: Path, tmp_path: Path) -> None:
    second = FakePuppet(tmp_path / "second")
    ask(fake, cache)
    assert ask(second, cache) == second.settings


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="a-list"),
        pytest.param("{}", id="nothing"),
        pytest.param('{"settings": {"logdest": ""}, "stamps": []}', id="of-another-version"),
        pytest.param('{"settings": [], "stamps": []}', id="a-list-of-settings"),
    ],
)
def test_what_was_kept_by_another_version_is_not_believed(fake: FakePuppet, cache: Path, kept: str) -> None:
    cache.write_text(kept)
    assert ask(fake, cache) == fake.settings
    assert json.loads(cache.read_text())["settings"] == fake.settings._asdict()


def test_it_is_asked_every_time_where_nothing_can_be_kept(fake: FakePuppet, tmp_path: Path) -> None:
    nowhere = tmp_path / "missing" / "settings.json"
    assert [ask(fake, nowhere) for _ in range(2)] == [fake.settings] * 2
    assert len(fake.asked()) == 2


# ---- a Puppet that does not tell


def test_a_setting_that_is_not_told_is_named_with_what_puppet_said(fake: FakePuppet, cache: Path) -> None:
    fake.path.write_text(
        "#!/bin/sh\necho 'Error: it is broken' >&2\necho more >&2\necho 'logdest = '\nexit 1\n"
    )
    with pytest.raises(PuppetError, match=r"does not tell agent_catalog_run_lockfile: Error: it is broken$"):
        ask(fake, cache)
    fake.path.write_text("#!/bin/sh\n")
    with pytest.raises(PuppetError, match="no error text"):
        ask(fake, cache)
    assert not cache.exists()


def test_a_puppet_that_hangs_is_not_waited_for(
    fake: FakePuppet, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SETTINGS_TIMEOUT_S", 0.05)
    fake.path.write_text("#!/bin/sh\nexec sleep 3600\n")
    with pytest.raises(PuppetError, match=r"config print did not end in 0\.05 s"):
        ask(fake, cache)


def test_a_puppet_that_cannot_be_executed_is_named(fake: FakePuppet, cache: Path) -> None:
    fake.path.write_text("#!/nowhere/ruby\n")
    with pytest.raises(PuppetError, match="puppet cannot be executed: No such file"):
        ask(fake, cache)


# ---- its limit for a run


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        pytest.param("3600", 3600, id="seconds"),
        pytest.param("3600s", 3600, id="s"),
        pytest.param("30m", 1800, id="m"),
        pytest.param("2h", 7200, id="h"),
        pytest.param("1d", 86400, id="d"),
        pytest.param("1y", 31536000, id="y"),
        pytest.param("0", None, id="never"),
        pytest.param("unlimited", None, id="a-word"),
        pytest.param("", None, id="empty"),
        pytest.param("-1", None, id="negative"),
    ],
)
def test_the_limit_for_a_run_in_seconds(fake: FakePuppet, told: str, seconds: Optional[int]) -> None:
    assert fake.settings._replace(runtimeout=told).runtimeout_s == seconds
