"""Names of nodes as people write them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from twitch.errors import UsageError
from twitch.fleet.who import names


def test_names_with_ranges_are_expanded_in_their_order() -> None:
    assert names.expanded(["web[08-10].test", "db1", "Web07.TEST"]) == [
        "web08.test",
        "web09.test",
        "web10.test",
        "db1",
        "web07.test",
    ]


@pytest.mark.parametrize(
    "name", ["-x", "web/1", "web 1;", "web1/", "host.", "ä.test", "a" * 300, "http://web1", "1.2.3.4:80"]
)
def test_what_is_not_a_certname_is_an_error(name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a node"):
        names.expanded([name])


def test_a_file_has_names_in_any_form(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    path.write_bytes(b"\xef\xbb\xbfweb1.test # the first\r\n\r\n# nothing\nweb[2-3].test,web4.test db1\n")
    assert names.from_file(str(path)) == ["web1.test", "web2.test", "web3.test", "web4.test", "db1"]


@pytest.mark.parametrize(
    "word", ["web[1-3", "web1]", "web[]", "web[a-b]", "web[3-1]", "web[1-2-3]", "web[-1]"]
)
def test_brackets_of_another_form_are_an_error(word: str) -> None:
    with pytest.raises(UsageError, match="web"):
        names.expanded([word])


@pytest.mark.parametrize("word", ["web[1-99999999]", "r[1-9999]n[1-9999]"])
def test_a_range_of_too_many_names_is_an_error(word: str) -> None:
    with pytest.raises(UsageError, match="more than 1,000,000 names"):
        names.expanded([word])


def test_an_error_in_a_file_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    path.write_text("web1\nhost:\n")
    with pytest.raises(UsageError, match=rf"{path}, line 2: 'host:' is not the name of a node"):
        names.from_file(str(path))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        names.from_file(str(tmp_path / "missing"))


def test_names_can_come_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"web1\nweb2\n")))
    assert names.from_file("-") == ["web1", "web2"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_powershell_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "nodes.txt"
    path.write_bytes("web1.test\r\nweb2.test\r\n".encode(encoding))
    assert names.from_file(str(path)) == ["web1.test", "web2.test"]


@pytest.mark.parametrize("word", [f"web[1-{'9' * 5000}]", f"web[{'1' * 5000}]"])
def test_a_number_that_is_too_long_is_an_error(word: str) -> None:
    with pytest.raises(UsageError, match="more than 64 digits"):
        names.expanded([word])


def test_a_path_with_a_nul_is_an_error() -> None:
    with pytest.raises(UsageError, match="null byte"):
        names.from_file("a\0b")
