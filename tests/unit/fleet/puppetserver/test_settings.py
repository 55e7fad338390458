"""Where the puppetservers are."""

from __future__ import annotations

from pathlib import Path

import pytest

from twitch.errors import UsageError
from twitch.fleet.puppetserver import settings


def of_conf(directory: Path, text: str) -> tuple[str, ...]:
    (directory / "puppet.conf").write_text(text)
    urls, source = settings.find(None, [directory])
    assert source == "puppet.conf"
    return urls


def test_the_option_holds_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "puppet.conf").write_text("[main]\nserver = a\n")
    assert settings.find(["https://b:8140/", "http://c:8141"], [tmp_path]) == (
        ("https://b:8140", "http://c:8141"),
        "--puppetserver",
    )
    assert settings.find(["none"], [tmp_path])[0] == ()


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("[main]\nserver = puppet.example.com\n", ("https://puppet.example.com:8140",)),
        ("server = early.example.com\n[main]\n", ("https://early.example.com:8140",)),
        ("[main]\nserver = a\nmasterport = 8141\n[agent]\nserver = b\n", ("https://b:8141",)),
        ("[agent]\nserver_list = a:8141,b\nserver = c\n", ("https://a:8141", "https://b:8140")),
        ("[main]\nserver = a\n# server = b\nserver = c\n", ("https://c:8140",)),
        ("[main]\ncertname = x\n", ("https://puppet:8140",)),
        ("[main]\nserver = {curly}%x\n", ("https://{curly}%x:8140",)),
    ],
)
def test_puppet_conf_is_read_as_the_agent_reads_it(tmp_path: Path, text: str, urls: tuple[str, ...]) -> None:
    assert of_conf(tmp_path, text) == urls


def test_a_machine_without_puppet_has_no_puppetserver(tmp_path: Path) -> None:
    assert settings.find(None, [tmp_path]) == ((), "")


@pytest.mark.parametrize("url", ["puppet:8140", "https://", "https://puppet:8140/status"])
def test_what_is_not_a_url_is_an_error(url: str) -> None:
    with pytest.raises(UsageError, match="is not a URL such as"):
        settings.find([url])
