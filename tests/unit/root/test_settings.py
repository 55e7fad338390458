"""Where Puppet is, and its settings: asked for once, and again when they may have changed."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Callable, Optional

import pytest

from tests.unit.fake_puppet import FakePuppet
from twitch.errors import PuppetError
from twitch.root import memory, puppet, settings
from twitch.root.settings import SETTINGS, Settings

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def fake(tmp_path: Path) -> FakePuppet:
    return FakePuppet(tmp_path / "puppet")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "settings.json"


def load(fake: FakePuppet, cache: Path) -> Settings:
    return settings.load(os.fspath(fake.path), os.fspath(cache), ENVIRONMENT)


# ---- the command


def test_configured_puppet_is_used(fake: FakePuppet) -> None:
    assert puppet.find(os.fspath(fake.path)) == os.fspath(fake.path)


def test_puppet_of_the_vendor_comes_before_that_of_the_distribution(
    fake: FakePuppet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = FakePuppet(tmp_path / "second")
    usual = (os.fspath(tmp_path / "missing"), os.fspath(second.path), os.fspath(fake.path))
    monkeypatch.setattr(puppet, "USUAL_PATHS", usual)
    assert puppet.find() == os.fspath(second.path)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch], ids=["a-directory", "not-executable"])
def test_puppet_that_cannot_be_executed_is_an_error(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "puppet"
    make(path)
    with pytest.raises(PuppetError, match=f"{path} is not an executable file"):
        puppet.find(os.fspath(path))


def test_missing_puppet_is_an_error_with_the_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puppet, "USUAL_PATHS", ("/nowhere/a", "/nowhere/b"))
    with pytest.raises(PuppetError, match=r"no puppet at /nowhere/a or /nowhere/b.*\[puppet\] path"):
        puppet.find()


# ---- settings


def test_settings_of_the_agent_are_asked_for_in_one_call(fake: FakePuppet, cache: Path) -> None:
    assert load(fake, cache) == fake.settings
    assert fake.calls() == [["config", "print", "--color=false", "--section", "agent", *SETTINGS]]


def test_setting_may_contain_the_separator(fake: FakePuppet, cache: Path) -> None:
    fake.set_settings(logdest="/var/log/a = b.log")
    assert load(fake, cache).logdest == "/var/log/a = b.log"


def test_settings_are_asked_for_once(fake: FakePuppet, cache: Path) -> None:
    assert [load(fake, cache) for _ in range(3)] == [fake.settings] * 3
    assert len(fake.calls()) == 1


def test_cache_is_for_root_only(fake: FakePuppet, cache: Path) -> None:
    load(fake, cache)
    assert cache.stat().st_mode & 0o777 == 0o600
    assert set(os.listdir(cache.parent)) == {"puppet", "settings.json"}  # no temporary file is left


def restore(path: Path) -> None:
    """Replace a file as a backup does: another inode, the same size and mtime."""
    before = path.stat()
    path.with_name("restored").write_bytes(path.read_bytes())
    path.with_name("restored").chmod(before.st_mode)
    os.utime(path.with_name("restored"), ns=(before.st_atime_ns, before.st_mtime_ns))
    path.with_name("restored").rename(path)


CHANGES: dict[str, Callable[[FakePuppet], object]] = {
    "puppet.conf-written": lambda fake: fake.conf.write_text("[agent]\nnoop = true\n"),
    "puppet.conf-restored": lambda fake: restore(fake.conf),
    "puppet.conf-removed": lambda fake: fake.conf.unlink(),
    "puppet-upgraded": lambda fake: fake.path.write_text(fake.path.read_text() + "\n"),
    "puppet-reinstalled": lambda fake: restore(fake.path),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_settings_are_asked_for_again_after_a_change(
    fake: FakePuppet, cache: Path, change: Callable[[FakePuppet], object]
) -> None:
    load(fake, cache)
    change(fake)
    fake.set_settings(runtimeout="7")
    assert [load(fake, cache).runtimeout for _ in range(2)] == ["7", "7"]
    assert len(fake.calls()) == 2


def test_settings_are_not_cached_if_a_file_changes_meanwhile(fake: FakePuppet, cache: Path) -> None:
    edits = f"open({os.fspath(fake.conf)!r}, 'a').write('# changed')\n"
    fake.path.write_text(fake.path.read_text().replace("if sys.argv[1]", f"{edits}if sys.argv[1]"))
    assert [load(fake, cache) for _ in range(2)] == [fake.settings] * 2
    assert len(fake.calls()) == 2


def test_options_of_the_site_that_change_settings_are_passed_on(fake: FakePuppet, cache: Path) -> None:
    def asked_with(options: str) -> list[str]:
        site = {**ENVIRONMENT, "PUPPET_EXTRA_OPTS": options}
        settings.load(os.fspath(fake.path), os.fspath(cache), site)
        return fake.calls()[-1][5 : -len(SETTINGS)]

    assert asked_with("--noop --verbose --server puppet") == []
    assert asked_with("--vardir /srv/a --noop --confdir=/srv/b") == ["--vardir=/srv/a", "--confdir=/srv/b"]
    assert asked_with("--statedir '/srv/with space'") == ["--statedir=/srv/with space"]
    assert len(fake.calls()) == 3
    assert asked_with("--statedir '/srv/with space' -v") == ["--statedir=/srv/with space"]
    assert len(fake.calls()) == 3


def test_settings_of_another_puppet_are_asked_for(fake: FakePuppet, cache: Path, tmp_path: Path) -> None:
    second = FakePuppet(tmp_path / "second")
    load(fake, cache)
    assert load(second, cache) == second.settings


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="a-list"),
        pytest.param("{}", id="nothing"),
        pytest.param('{"settings": {"logdest": ""}, "stamps": []}', id="of-another-version"),
        pytest.param('{"settings": [], "stamps": []}', id="a-list-of-settings"),
        pytest.param("[" * 100_000, id="nested-too-deep"),
    ],
)
def test_invalid_cache_is_ignored(fake: FakePuppet, cache: Path, content: str) -> None:
    cache.write_text(content)
    assert load(fake, cache) == fake.settings
    assert json.loads(cache.read_text())["settings"] == fake.settings._asdict()


def test_settings_are_asked_for_each_time_without_a_cache(fake: FakePuppet, tmp_path: Path) -> None:
    nowhere = tmp_path / "missing" / "settings.json"
    assert [load(fake, nowhere) for _ in range(2)] == [fake.settings] * 2
    assert len(fake.calls()) == 2


def test_cache_of_version_1_0_0_is_not_used(fake: FakePuppet, cache: Path) -> None:
    # It has fewer settings; the paths of the files that changed since are the same.
    load(fake, cache)
    stored = json.loads(cache.read_text())
    for name in ("certname", "hostcert", "localcacert"):
        del stored["settings"][name]
    cache.write_text(json.dumps(stored))
    assert [load(fake, cache) for _ in range(2)] == [fake.settings] * 2
    assert len(fake.calls()) == 2


# ---- a Puppet that prints no settings


def test_settings_that_only_make_a_reason_clearer_may_be_missing(fake: FakePuppet, cache: Path) -> None:
    printed = fake.directory / "settings"
    lines = printed.read_text().splitlines(True)
    kept = [line for line in lines if not line.startswith(("certname", "hostcert", "localcacert"))]
    printed.write_text("".join(kept))
    assert (load(fake, cache).certname, load(fake, cache).hostcert) == ("", "")
    assert len(fake.calls()) == 1


def test_puppet_is_asked_without_the_memory_limit_of_this_process(fake: FakePuppet, cache: Path) -> None:
    limit = f"open({os.fspath(fake.directory / 'limit')!r}, 'w').write(open('/proc/self/limits').read())\n"
    fake.path.write_text(fake.path.read_text().replace("if sys.argv[1]", f"{limit}if sys.argv[1]"))
    before = resource.getrlimit(resource.RLIMIT_DATA)
    memory.limit()
    try:
        load(fake, cache)
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] == memory.LIMIT_BYTES
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
    [line] = [line for line in (fake.directory / "limit").read_text().splitlines() if "data size" in line]
    assert str(memory.LIMIT_BYTES) not in line


def test_missing_setting_is_an_error_with_the_first_line_of_puppet(fake: FakePuppet, cache: Path) -> None:
    fake.path.write_text(
        "#!/bin/sh\necho 'Error: it is broken' >&2\necho more >&2\necho 'logdest = '\nexit 1\n"
    )
    with pytest.raises(PuppetError, match=r"does not tell agent_catalog_run_lockfile: Error: it is broken$"):
        load(fake, cache)
    fake.path.write_text("#!/bin/sh\n")
    with pytest.raises(PuppetError, match="no error text"):
        load(fake, cache)
    assert not cache.exists()


def test_puppet_that_hangs_is_an_error_after_the_timeout(
    fake: FakePuppet, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SETTINGS_TIMEOUT_S", 0.05)
    fake.path.write_text("#!/bin/sh\nexec sleep 3600\n")
    with pytest.raises(PuppetError, match=r"config print did not end in 0\.05 s"):
        load(fake, cache)


def test_puppet_without_its_interpreter_is_an_error(fake: FakePuppet, cache: Path) -> None:
    fake.path.write_text("#!/nowhere/ruby\n")
    with pytest.raises(PuppetError, match="puppet cannot be executed: No such file"):
        load(fake, cache)


# ---- the limit for a run


@pytest.mark.parametrize(
    ("runtimeout", "seconds"),
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
def test_runtimeout_in_seconds(fake: FakePuppet, runtimeout: str, seconds: Optional[int]) -> None:
    assert fake.settings._replace(runtimeout=runtimeout).runtimeout_s == seconds
