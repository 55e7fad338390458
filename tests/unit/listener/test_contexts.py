"""The TLS context follows configuration, CA and CRL at once, and a connection ends with the right to it."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from pathlib import Path
from typing import Callable

import pytest

from tests.unit.pki import PKI
from twitch.config import Config, load
from twitch.errors import ConfigError
from twitch.listener import contexts as contexts_module
from twitch.listener import tls, tls_context, watched
from twitch.listener.contexts import Contexts
from twitch.listener.exchange import HTTPError
from twitch.listener.watched import Watched

ON = "[tls]\nenabled = yes\n"


# ---- what the listener asks at each connection


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "puppet-twitch.conf"


@pytest.fixture
def contexts(conf: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch) -> Contexts:
    monkeypatch.setattr(watched, "SETTLED_NS", 0)
    monkeypatch.setattr(contexts_module, "RETRY_FAULT_S", 3600)
    monkeypatch.setenv(tls.DIRECTORY, os.fspath(credentials))
    conf.write_text(ON)
    return Contexts(Watched[Config](os.fspath(conf), load))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tls.Files]:
    """Return the list of what is loaded."""
    load, loaded = tls_context.trust, list[tls.Files]()

    def noted(config: Config, files: tls.Files) -> tls_context.Trust:
        loaded.append(files)
        return load(config, files)

    monkeypatch.setattr(tls_context, "trust", noted)
    return loaded


async def test_the_configuration_takes_effect_at_once(contexts: Contexts, conf: Path) -> None:
    conf.write_text("# The defaults apply.\n")
    assert await contexts.current() is None
    conf.write_text(ON)
    optional = await contexts.current()
    assert optional is not None
    assert optional.context.verify_mode is ssl.CERT_OPTIONAL
    assert await contexts.current() is optional
    conf.write_text(f"{ON}client = required\n")
    required = await contexts.current()
    assert required is not None
    assert required.context.verify_mode is ssl.CERT_REQUIRED
    conf.write_text("[tls]\nenabled = no\n")
    assert await contexts.current() is None
    conf.write_text("[tls]\nenabled = perhaps\n")
    with pytest.raises(ConfigError, match="perhaps"):
        await contexts.current()


@pytest.mark.parametrize("name", ["ca", "crl"])
async def test_a_new_file_takes_effect_at_once_and_is_read_once(
    contexts: Contexts, loads: list[tls.Files], credentials: Path, name: str
) -> None:
    before = await contexts.current()
    assert await contexts.current() is before
    replacement = credentials / "new"
    replacement.write_bytes((credentials / name).read_bytes())
    replacement.rename(credentials / name)
    after = await asyncio.gather(*(contexts.current() for _ in range(20)))
    assert len(set(map(id, after))) == 1
    assert after[0] is not before
    assert len(loads) == 2


async def test_a_new_file_is_read_in_a_thread(
    contexts: Contexts, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await contexts.current()
    asked = asyncio.Event()
    loop, load = asyncio.get_running_loop(), tls_context.trust

    def slowly(config: Config, files: tls.Files) -> tls_context.Trust:
        # Would wait for ever if it were in the way of the loop.
        asyncio.run_coroutine_threadsafe(asked.wait(), loop).result(60)
        return load(config, files)

    monkeypatch.setattr(tls_context, "trust", slowly)
    (credentials / "crl").touch()
    waiting = asyncio.create_task(contexts.current())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    # A client that leaves does not end it for the next one.
    left = asyncio.create_task(contexts.current())
    await asyncio.sleep(0)
    left.cancel()
    asked.set()
    assert await waiting is await contexts.current()


async def test_a_fault_is_logged_once_and_heals_at_once(
    contexts: Contexts, credentials: Path, loads: list[tls.Files], caplog: pytest.LogCaptureFixture
) -> None:
    content = (credentials / "crl").read_bytes()
    for _ in range(2):
        (credentials / "crl").unlink()
        loads.clear()
        for _ in range(3):
            with pytest.raises(ConfigError, match="cannot be read"):
                await contexts.current()
        assert len(caplog.records) == len(loads) == 1
        caplog.clear()
        (credentials / "crl").write_bytes(content)
        assert await contexts.current() is not None


async def test_a_fault_is_looked_at_again_after_a_second(
    contexts: Contexts, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptors(config: Config, files: tls.Files) -> tls_context.Trust:
        raise ConfigError("too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(tls_context, "trust", no_descriptors)
        with pytest.raises(ConfigError, match="too many"):
            await contexts.current()
    with pytest.raises(ConfigError, match="too many"):
        await contexts.current()
    monkeypatch.setattr(contexts_module, "RETRY_FAULT_S", 0)
    assert await contexts.current() is not None


async def test_a_crl_that_expires_while_it_is_used_is_a_fault(
    pki: PKI, contexts: Contexts, credentials: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    until = time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + 3600))
    (credentials / "crl").write_text(pki.authority.crl(until=until) + pki.root.crl())
    good = await contexts.current()
    assert good is not None
    assert good.fault == ""
    assert abs(good.expires_s - time.time() - 3600) < 100
    # OpenSSL has a clock of its own.
    monkeypatch.setattr(tls_context, "_crl_fault", lambda *_: "it has expired")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3700)
    for _ in range(3):
        expired = await contexts.current()
        assert expired is not None
        assert expired.fault == "it has expired"
        assert not expired.context.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN
    assert caplog.messages == ["it has expired"]


async def test_a_second_change_within_one_tick_of_the_clock_is_seen(
    contexts: Contexts, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "SETTLED_NS", 3600 * 10**9)
    monkeypatch.setattr(watched, "stamp", lambda path: "the same")
    first = await contexts.current()
    assert await contexts.current() is not first


# ---- a connection that stays


class Site:
    """The files of one node."""

    def __init__(self, pki: PKI, directory: Path, conf: Path) -> None:
        self.pki, self.directory, self.conf = pki, directory, conf

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def refresh(self) -> None:
        self.write("crl", self.pki.crls())

    def revoke(self) -> None:
        self.pki.authority.revoke(self.pki.directory / "client.pem")
        self.refresh()

    def revoke_elsewhere(self) -> None:
        """Let the root revoke a certificate that has the serial number of the client's."""
        serial = str(shown(self.pki.directory / "client.pem")["serialNumber"])
        with (self.pki.root.directory / "index").open("a") as index:
            index.write(f"R\t400101000000Z\t200101000000Z\t{serial}\tunknown\t/CN=x\n")
        self.refresh()

    def configure(self, line: str) -> None:
        self.conf.write_text(f"{ON}{line}\n")


CHANGES: dict[str, tuple[Callable[[Site], object], int, str]] = {
    "nothing": (lambda node: None, 0, ""),
    "a-newer-crl": (lambda node: node.refresh(), 0, ""),
    "revoked": (lambda node: node.revoke(), 403, "has been revoked"),
    "same-serial-of-another-ca": (lambda node: node.revoke_elsewhere(), 0, ""),
    "another-ca": (lambda node: node.write("ca", node.pki.bundle() + "\n"), 503, "connect again"),
    "required": (lambda node: node.configure("client = required"), 503, "connect again"),
    "crl-gone": (lambda node: (node.directory / "crl").unlink(), 503, "misconfigured"),
    "crl-expired": (
        lambda node: node.write("crl", node.pki.authority.crl(until="200101000000Z") + node.pki.root.crl()),
        503,
        "cannot verify certificates",
    ),
    "tls-off": (lambda node: node.conf.write_text("# The defaults apply.\n"), 0, ""),
}  # fmt: skip


def shown(cert: Path) -> dict[str, object]:
    """Return a certificate as `ssl` shows it after a handshake."""
    return dict(ssl._ssl._test_decode_cert(os.fspath(cert)))  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", CHANGES)
async def test_each_request_is_asked_whether_its_certificate_is_still_good(
    pki: PKI, contexts: Contexts, credentials: Path, conf: Path, how: str
) -> None:
    certificate = shown(pki.certificate("client")[0])
    change, status, text = CHANGES[how]
    then = await contexts.current()
    assert then is not None
    change(Site(pki, credentials, conf))
    if not status:
        await contexts.vet(then, certificate)
        return
    with pytest.raises(HTTPError, match=text) as caught:
        await contexts.vet(then, certificate)
    assert (caught.value.status, caught.value.close) == (status, True)


async def test_an_expired_certificate_ends_a_connection(
    pki: PKI, contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    then, real = await contexts.current(), time.time
    assert then is not None
    certificate = shown(pki.certificate("client")[0])
    monkeypatch.setattr(time, "time", lambda: real() + 31 * 86400)
    then = then._replace(expires_s=float("inf"))
    contexts._loaded = contexts._loaded and contexts._loaded._replace(result=then)
    with pytest.raises(HTTPError, match="has expired"):
        await contexts.vet(then, certificate)


async def test_a_client_without_a_certificate_is_served_with_an_expired_crl(
    pki: PKI, contexts: Contexts, credentials: Path, conf: Path
) -> None:
    then = await contexts.current()
    assert then is not None
    Site(pki, credentials, conf).write("crl", pki.authority.crl(until="200101000000Z") + pki.root.crl())
    await contexts.vet(then, {})


def test_a_crl_that_is_a_credential_needs_another_listener(
    contexts: Contexts, conf: Path, credentials: Path
) -> None:
    assert not contexts.lasting()
    for name in ("ca", "crl"):
        (credentials / name).rename(credentials.parent / name)
    conf.write_text(f"{ON}ca = {credentials.parent}/ca\ncrl = {credentials.parent}/crl\n")
    assert contexts.lasting()
    conf.write_text("nonsense")
    assert not contexts.lasting()
    conf.write_text("# The defaults apply.\n")
    assert contexts.lasting()
