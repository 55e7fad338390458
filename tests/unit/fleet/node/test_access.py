"""Where certificates and tokens come from, and that nobody else can read or see them."""

from __future__ import annotations

import os
import ssl
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.pki import PKI
from twitch.errors import UsageError
from twitch.fleet import options
from twitch.fleet.node import access
from twitch.fleet.node.access import Access, Files

TOKEN = "abcDEF123-._~+/=="


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    made = PKI(tmp_path_factory.mktemp("pki"))
    (made.directory / "ca.pem").write_text(made.bundle())
    for name in ("alice", "bob"):
        made.certificate(name)[1].chmod(0o600)
    return made


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the user; this machine has no Puppet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path))
    monkeypatch.setattr(access, "of_this_host", lambda: None)
    monkeypatch.setattr(access, "CA_FILES", ())
    directory = tmp_path / "puppet-twitch"
    directory.mkdir()
    yield directory


def parse(*words: str) -> Namespace:
    parser = options.Parser("run", "")
    options.add_as_whom(parser)
    return parser.parse_args(words)


def put(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def put_own(own: Path, pki: PKI, *names: str) -> None:
    """Copy files of alice to the directory of the user."""
    source = {"cert.pem": "alice.pem", "key.pem": "alice.key", "ca.pem": "ca.pem"}
    for name in names:
        content = TOKEN if name == "token" else (pki.directory / source[name]).read_text()
        put(own / name, content)


# ---- where they come from


def test_files_of_the_user_are_used(own: Path, pki: PKI) -> None:
    put_own(own, pki, "cert.pem", "key.pem", "ca.pem", "token")
    found = access.access(parse("--port", "2123"))
    assert found.tls
    assert found.tls.verify_mode is ssl.CERT_REQUIRED
    assert found.tls.check_hostname
    assert (found.port, found.token) == (2123, TOKEN)
    assert access.credentials(parse()) == Files(
        own / "ca.pem", own / "cert.pem", own / "key.pem", own / "token"
    )


def test_options_replace_the_files_of_the_user(own: Path, pki: PKI, tmp_path: Path) -> None:
    put_own(own, pki, "cert.pem", "key.pem", "ca.pem", "token")
    cert, key = pki.directory / "bob.pem", pki.directory / "bob.key"
    found = access.credentials(parse("--cert", str(cert), "--key", str(key)))
    assert found == Files(own / "ca.pem", cert, key, None)
    token = put(tmp_path / "other", TOKEN)
    assert access.credentials(parse("--token-file", str(token))) == Files(own / "ca.pem", token=token)


def test_certificate_of_the_host_is_the_last_resort(
    own: Path, pki: PKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Files(pki.directory / "ca.pem", pki.directory / "bob.pem", pki.directory / "bob.key", puppets=True)
    monkeypatch.setattr(access, "of_this_host", lambda: host)
    assert access.credentials(parse()) == host
    put_own(own, pki, "token")
    # With a token, the caller is a person, and not also this host.
    assert access.credentials(parse()) == Files(host.ca, token=own / "token")


def test_settings_of_puppet_name_the_certificate_of_the_host(
    pki: PKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"localcacert": "ca.pem", "hostcert": "bob.pem", "hostprivkey": "bob.key"}
    lines = "\n".join(f"echo '{name} = {pki.directory / path}'" for name, path in paths.items())
    (tmp_path / "puppet").write_text(f'#!/bin/sh\ntest "$1 $2" = "config print" || exit 1\n{lines}\n')
    (tmp_path / "puppet").chmod(0o755)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    access.of_this_host.cache_clear()
    ca, cert, key = (pki.directory / path for path in paths.values())
    assert access.of_this_host() == Files(ca, cert, key, puppets=True)
    access.of_this_host.cache_clear()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert access.of_this_host() is None
    access.of_this_host.cache_clear()


def test_ca_alone_is_an_anonymous_caller(own: Path, pki: PKI) -> None:
    found = access.access(parse("--ca", str(pki.directory / "ca.pem")))
    assert found.tls
    assert found.token is None


def test_plain_http_sends_no_token_that_nobody_asked_for(own: Path, pki: PKI) -> None:
    put_own(own, pki, "cert.pem", "key.pem", "ca.pem", "token")
    assert access.access(parse("--plain-http")) == Access()


def test_token_in_clear_text_has_to_be_asked_for(own: Path, tmp_path: Path) -> None:
    token = put(tmp_path / "t", f"Authorization: Bearer {TOKEN}\n")
    with pytest.raises(UsageError, match="--clear-text-token"):
        access.access(parse("--plain-http", "--token-file", str(token)))
    clear = access.access(parse("--plain-http", "--token-file", str(token), "--clear-text-token"))
    assert clear == Access(token=TOKEN)


def test_no_text_shows_the_token() -> None:
    shown = Access(token=TOKEN)
    assert TOKEN not in repr(shown) + str(shown) + f"{shown}"


# ---- what is wrong


def test_nothing_at_all(own: Path) -> None:
    with pytest.raises(UsageError, match=r"No certificate and no token in .*CERTIFICATES.*--plain-http"):
        access.access(parse())


def test_no_ca(own: Path, pki: PKI) -> None:
    put_own(own, pki, "token")
    with pytest.raises(UsageError, match=r"No certificate of Puppet's CA; name it with --ca, or copy"):
        access.access(parse())


@pytest.mark.parametrize("names", [["cert.pem", "ca.pem"], ["key.pem", "ca.pem"]])
def test_half_of_a_pair(own: Path, pki: PKI, names: list[str]) -> None:
    put_own(own, pki, *names)
    with pytest.raises(UsageError, match=r"(key|cert)\.pem is missing: a certificate and its private key"):
        access.access(parse())
    with pytest.raises(UsageError, match="--cert and --key belong together"):
        access.access(parse("--cert", str(own / "cert.pem")))


@pytest.mark.parametrize("option", ["--cert", "--key", "--ca"])
def test_files_of_tls_do_not_go_with_plain_http(own: Path, option: str) -> None:
    with pytest.raises(UsageError, match="--plain-http has no TLS"):
        access.access(parse("--plain-http", option, "x"))


def test_key_of_another_certificate(own: Path, pki: PKI) -> None:
    put_own(own, pki, "cert.pem", "ca.pem")
    put(own / "key.pem", (pki.directory / "bob.key").read_text())
    with pytest.raises(UsageError, match=r"key\.pem is not the private key of .*cert\.pem"):
        access.access(parse())


@pytest.mark.parametrize("name", ["cert.pem", "key.pem", "ca.pem"])
@pytest.mark.parametrize("content", ["", "rubbish", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_file_that_is_no_pem(own: Path, pki: PKI, name: str, content: str) -> None:
    put_own(own, pki, "cert.pem", "key.pem", "ca.pem")
    put(own / name, content)
    with pytest.raises(UsageError, match=name) as caught:
        access.access(parse())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
@pytest.mark.parametrize("name", ["key.pem", "token"])
def test_secret_that_others_can_read(own: Path, pki: PKI, name: str, mode: int) -> None:
    put_own(own, pki, "cert.pem", "key.pem", "ca.pem", "token")
    (own / name).chmod(mode)
    with pytest.raises(UsageError, match=rf"{name} can be read by others; chmod 600 "):
        access.access(parse())


@pytest.mark.parametrize("content", ["", "two words", f"Authorization: Basic {TOKEN}", "a" * 600, "é", "\0"])
def test_file_that_has_no_token(own: Path, pki: PKI, content: str) -> None:
    put_own(own, pki, "ca.pem")
    put(own / "token", content)
    with pytest.raises(UsageError, match="must have one token alone") as caught:
        access.access(parse())
    assert not content or content not in str(caught.value)


def test_file_that_is_not_there(own: Path, pki: PKI, tmp_path: Path) -> None:
    put_own(own, pki, "ca.pem")
    with pytest.raises(UsageError, match="nowhere cannot be read: No such file"):
        access.access(parse("--token-file", "/nowhere"))
    with pytest.raises(UsageError, match="is not a file"):
        access.access(parse("--token-file", "/dev/null"))
