"""Where PuppetDB is: the files that other tools of Puppet read, and the option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

import pytest

from twitch.errors import UsageError
from twitch.fleet.node import access
from twitch.fleet.node.access import Files
from twitch.fleet.puppetdb import settings

OWN = Files(Path("/own/ca"), Path("/own/cert"), Path("/own/key"))


class Machine:
    """The files of a machine."""

    def __init__(self, directory: Path) -> None:
        self.home, self.system, self.conf = (directory / name for name in ("home", "system.conf", "conf"))
        self.conf.mkdir()

    def user_tools(self, **fields: Any) -> None:
        path = self.home / ".puppetlabs/client-tools/puppetdb.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"puppetdb": fields}))

    def system_tools(self, **fields: Any) -> None:
        self.system.write_text(json.dumps({"puppetdb": fields}))

    def find(self, option: Optional[str] = None, own: Files = OWN) -> Optional[settings.Settings]:
        return settings.find(
            option, own, home=self.home, system_files=[self.system], conf_directories=[self.conf]
        )

    def found(self, option: Optional[str] = None, own: Files = OWN) -> settings.Settings:
        settings_ = self.find(option, own)
        assert settings_ is not None
        return settings_


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_without_files_has_no_puppetdb(machine: Machine) -> None:
    assert machine.find() is None


def test_the_option_holds_over_all_files(machine: Machine) -> None:
    machine.user_tools(server_urls="https://files:8081")
    assert machine.found("https://a:8081,https://b:8081/").urls == ("https://a:8081", "https://b:8081")
    assert machine.find("none") is None


def test_the_file_of_the_user_replaces_single_settings_of_the_system(machine: Machine) -> None:
    machine.system_tools(server_urls=["https://system:8081"], cacert="/s/ca", cert="/s/cert", key="/s/key")
    machine.user_tools(cert="/u/cert", key="/u/key")
    found = machine.found(own=Files())
    assert found.urls == ("https://system:8081",)
    assert found.source == str(machine.system)
    assert found.files == Files(Path("/s/ca"), Path("/u/cert"), Path("/u/key"), puppets=True)


def test_the_certificate_of_the_operator_holds_over_that_of_the_client_tools(machine: Machine) -> None:
    machine.user_tools(server_urls="https://pdb:8081", cacert="/s/ca", cert="/s/cert", key="/s/key")
    assert machine.found().files == OWN
    assert machine.found(own=Files(ca=Path("/own/ca"))).files == Files(
        Path("/own/ca"), Path("/s/cert"), Path("/s/key"), puppets=True
    )


def test_plain_http_needs_no_certificate(machine: Machine) -> None:
    assert machine.found("http://localhost:8080") == settings.Settings(
        ("http://localhost:8080",), "--puppetdb", Files()
    )


def test_without_a_file_of_the_client_tools_the_one_of_the_server_is_read(machine: Machine) -> None:
    (machine.conf / "puppetdb.conf").write_text(
        "[main]\n# comment\nserver_urls = https://a:8081,https://b:8081\nsoft_write_failure = true\n"
    )
    assert machine.found().urls == ("https://a:8081", "https://b:8081")


def test_the_old_form_of_the_file_of_the_server_is_read(machine: Machine) -> None:
    (machine.conf / "puppetdb.conf").write_text("[main]\nserver = pdb.example.com\n")
    assert machine.found().urls == ("https://pdb.example.com:8081",)


@pytest.mark.parametrize("url", ["pdb:8081", "ftp://pdb", "", "https://", "https://user:secret@pdb:8081"])
def test_what_is_not_a_url_is_an_error(machine: Machine, url: str) -> None:
    with pytest.raises(UsageError, match="is not a URL such as"):
        machine.find(url)


@pytest.mark.parametrize("content", ["{", "[]", '{"server_urls": "https://a:8081"}', '{"puppetdb": []}'])
def test_a_file_of_another_form_is_an_error_with_its_name(machine: Machine, content: str) -> None:
    machine.system.write_text(content)
    with pytest.raises(UsageError, match=str(machine.system)):
        machine.find()


def test_urls_and_paths_of_another_type_are_errors(machine: Machine) -> None:
    machine.system_tools(server_urls={"a": 1})
    with pytest.raises(UsageError, match="is a URL, or a list of URLs"):
        machine.find()
    machine.system_tools(server_urls="https://a:8081", cert=7)
    with pytest.raises(UsageError, match="are paths"):
        machine.find()


def test_the_host_is_asked_only_for_what_is_missing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = Files(Path("/host/ca"), Path("/host/cert"), Path("/host/key"), puppets=True)
    asked: list[Files] = []

    def of_this_host() -> Files:
        asked.append(host)
        return host

    monkeypatch.setattr(access, "of_this_host", of_this_host)
    monkeypatch.setattr(access, "CA_FILES", (tmp_path / "locked" / "ca.pem", tmp_path / "ca.pem"))
    assert machine.found("https://pdb:8081").files == OWN
    assert not asked
    assert machine.found("https://pdb:8081", own=Files()).files == host
    (tmp_path / "ca.pem").touch()
    assert machine.found("https://pdb:8081", own=Files()).files == host._replace(ca=tmp_path / "ca.pem")
    assert settings.ca_of(Files()) == tmp_path / "ca.pem"
    assert len(asked) == 2
