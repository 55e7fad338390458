"""The configuration file: what may stand there, and one clear line about anything else."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twitch import config
from twitch.config import KEYS, Config, _Parser, load
from twitch.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "puppet-twitch.conf"


def networks(*texts: str) -> tuple[config.Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# ---- what may stand there


GOOD: dict[str, tuple[str, Config]] = {
    "comment": ("#", Config()),
    "section": ("[access]", Config()),
    "comments": ("# a\n; b\n\n[access]\n# c\n[puppet]\n", Config()),
    "from": (
        "[access]\nfrom = 10.0.0.0/8 192.0.2.7 ::1",
        Config(networks=networks("10.0.0.0/8", "192.0.2.7/32", "::1/128")),
    ),
    "from-mapped": (
        "[access]\nfrom = ::ffff:10.0.0.0/104 ::FFFF:192.0.2.7 ::ffff:0:0/96 ::/0 ::ffff:0:0:0/96",
        Config(networks=networks("10.0.0.0/8", "192.0.2.7/32", "0.0.0.0/0", "::/0", "::ffff:0:0:0/96")),
    ),
    "from-on-lines": (
        "[access]\nfrom =\n  10.0.0.0/8\n  ::1\n",
        Config(networks=networks("10.0.0.0/8", "::1")),
    ),
    "anonymous": (
        "[access]\nanonymous = noop tags environment=feature_* logs",
        Config(grants={"anonymous": ("noop", "tags", "environment=feature_*", "logs")}),
    ),
    "anonymous-nothing": ("[access]\nanonymous =", Config(grants={"anonymous": ()})),
    "callers": (
        "[access]\ntoken:deploy.1 = trigger\ncert:*.ci.example.com = noop\n",
        Config(
            grants={
                "anonymous": ("trigger", "status"),
                "token:deploy.1": ("trigger",),
                "cert:*.ci.example.com": ("noop",),
            }
        ),
    ),
    "plaintext-tokens": ("[access]\nplaintext_tokens = yes", Config(plaintext_tokens=True)),
    "no-plaintext-tokens": ("[access]\nplaintext_tokens = no", Config()),
    "tls": ("[tls]\nenabled = yes\nclient = required", Config(tls=True, tls_client="required")),
    "cooldown": ("[access]\ncooldown = 0", Config(cooldown_s=0)),
    "cooldown-with-a-unit": ("[access]\ncooldown = 5m", Config(cooldown_s=300)),
    "disable-max": ("[disable]\nmax = 8h", Config(disable_s=8 * 3600, disable_max_s=8 * 3600)),
    "disable-max-above-the-default": ("[disable]\nmax = 60d", Config(disable_max_s=60 * 86400)),
    "runs": ("[runs]\nkeep = 1000\nsize = 1G", Config(keep_runs=1000, keep_bytes=2**30)),
    "runs-few": ("[runs]\nkeep = 1\nsize = 1024K", Config(keep_runs=1, keep_bytes=2**20)),
    "cooldown-a-day": ("[access]\ncooldown = 86400", Config(cooldown_s=86400)),
    "agent": ("[puppet]\ncommand = agent", Config()),
    "apply": (
        "[puppet]\ncommand = apply\nmanifest = /etc/puppet/site.pp",
        Config(command="apply", manifest="/etc/puppet/site.pp"),
    ),
    "path": ("[puppet]\npath=/opt/a b/puppet", Config(puppet_path="/opt/a b/puppet")),
    "percent-is-no-interpolation": ("[puppet]\npath = /opt/%(x)s", Config(puppet_path="/opt/%(x)s")),
}


@pytest.mark.parametrize(("text", "expected"), GOOD.values(), ids=GOOD)
def test_is_understood(path: Path, text: str, expected: Config) -> None:
    path.write_text(text)
    assert load(os.fspath(path)) == expected


EXAMPLE = Path(__file__).parents[2] / "units" / "puppet-twitch.conf"
SHOWN = re.compile("^#(?=[a-z_]+ = |token:|cert:)", re.MULTILINE)


def test_the_example_that_is_installed_says_what_holds_without_it(path: Path) -> None:
    assert load(os.fspath(EXAMPLE)) == Config()
    # Its keys are comments; taken in, all that have a default say the same.
    no_default = "(?!manifest|path|ca |crl|token|cert)"
    path.write_text(re.sub(f"{SHOWN.pattern}{no_default}", "", EXAMPLE.read_text(), flags=re.MULTILINE))
    assert load(os.fspath(path)) == Config(networks=networks(*config.EVERYWHERE.split()))


def test_the_example_shows_every_key_in_its_section(path: Path) -> None:
    parser = _Parser(delimiters=("=",), comment_prefixes=(";",), interpolation=None)
    parser.read_string(SHOWN.sub("", re.sub("^# .*|^#$", "", EXAMPLE.read_text(), flags=re.MULTILINE)))
    shown = {section: set(parser[section]) for section in parser.sections()}
    callers = {"anonymous", "token:deploy", "cert:*.ci.example.com"}
    assert shown == {name: {*keys, *(callers if name == "access" else ())} for name, keys in KEYS.items()}
    # Each line is valid.
    path.write_text(SHOWN.sub("", EXAMPLE.read_text()).replace("command = agent", "command = apply"))
    loaded = load(os.fspath(path))
    assert loaded.grants["token:deploy"][:2] == ("trigger", "noop")
    assert (loaded.manifest, loaded.tls_crl) == (
        "/etc/puppet/manifests/site.pp",
        "/var/lib/puppet/ssl/crl.pem",
    )


# ---- what may not


BAD: dict[str, tuple[str, tuple[str, ...]]] = {
    "no-section": ("from = ::/0", ("line 1", "[access] [puppet]")),
    "unknown-section": ("[acces]\n", ("[acces]", "allowed: [access] [puppet]")),
    "section-default": ("[DEFAULT]\nfrom = ::/0\n", ("[DEFAULT]", "allowed: [access] [puppet]")),
    "section-and-a-key": ("[access] anonymous =\n", ("line 1", "on a line of its own")),
    "section-and-a-comment": ("[access] # ours\n", ("line 1", "on a line of its own")),
    "second-section-and-a-key": ("[tls]\n[access] from =\n", ("[tls] [access] from", "unknown key")),
    "section-and-a-bracket": ("[access]]\nfrom = ::1\n", ("line 1", "on a line of its own")),
    "section-nul": ("[\0]\nfrom = ::/0\n", ("unknown section", "allowed: [access] [puppet]")),
    "section-twice": ("[access]\n[access]\n", ("line 2", "[access]", "twice")),
    "key-twice": ("[access]\ncooldown = 1\ncooldown = 2\n", ("line 3", "[access] cooldown", "twice")),
    "no-equals-sign": ("[access]\nfrom ::/0\n", ("line 2", "key = value")),
    "colon-for-equals-sign": ("[access]\nfrom: ::/0\n", ("line 2", "key = value")),
    "continued-after-an-empty-line": ("[access]\nfrom = ::1\n\n  ::/0\n", ("line 4", "key = value")),
    "no-key": ("[access]\n= ::/0\n", ("line 2", "key = value")),
    "unknown-key": ("[access]\nform = ::/0", ("[access] form", "unknown key", "from, cooldown", "anonymous")),
    "key-in-capitals": ("[access]\nFrom = ::/0", ("[access] From", "unknown key")),
    "key-of-the-other-section": ("[puppet]\nfrom = ::/0", ("[puppet] from", "command, manifest, path")),
    "no-such-caller": ("[access]\nuser:deploy = trigger", ("[access] user:deploy", "unknown key")),
    "from-empty": ("[access]\nfrom =", ("[access] from", "empty", "stop puppet-twitch.socket")),
    "from-a-name": ("[access]\nfrom = example.com", ("[access] from", "example.com", "10.0.0.0/8")),
    "from-host-bits": ("[access]\nfrom = 10.0.0.1/8", ("[access] from", "10.0.0.1/8", "allowed")),
    "from-commas": ("[access]\nfrom = 10.0.0.0/8,::1", ("[access] from", "allowed")),
    "grant-unknown": ("[access]\nanonymous = triger", ("[access] anonymous: word 1", "any of: trigger")),
    "grant-all": ("[access]\nanonymous = *", ("[access] anonymous: word 1", "allowed")),
    "grant-environment-empty": ("[access]\nanonymous = environment=", ("[access] anonymous: word 1",)),
    "token-without-a-name": ("[access]\ntoken: = trigger", ("[access] token:", "unknown key", "token:NAME")),
    "token-with-a-space": ("[access]\ntoken:a b = trigger", ("[access] token:a b", "unknown key")),
    "certname-in-capitals": ("[access]\ncert:Node = trigger", ("[access] cert:Node", "cert:CERTNAME")),
    "token-with-a-wrong-grant": ("[access]\ntoken:a = al", ("[access] token:a: word 1", "any of: trigger")),
    "plaintext-tokens-true": ("[access]\nplaintext_tokens = true", ("plaintext_tokens", "'true'", "yes, no")),
    "tls-unknown-key": ("[tls]\nport = 1", ("[tls] port", "unknown key", "enabled, client")),
    "tls-enabled-empty": ("[tls]\nenabled =", ("[tls] enabled", "''", "yes, no")),
    "tls-client-unknown": ("[tls]\nclient = no", ("[tls] client", "'no'", "optional, required")),
    "grant-environment-regex": ("[access]\nanonymous = tags environment=a.*", ("anonymous: word 2",)),
    "keep-none": ("[runs]\nkeep = 0", ("[runs] keep", "'0'", "from 1 to 1000")),
    "keep-many": ("[runs]\nkeep = 1001", ("[runs] keep", "'1001'", "from 1 to 1000")),
    "keep-a-word": ("[runs]\nkeep = all", ("[runs] keep", "'all'", "from 1 to 1000")),
    "size-without-a-unit": ("[runs]\nsize = 8", ("[runs] size", "'8'", "from 1M to 1G, such as 2048K or 8M")),
    "size-small": ("[runs]\nsize = 1023K", ("[runs] size", "'1023K'", "from 1M to 1G")),
    "size-large": ("[runs]\nsize = 2G", ("[runs] size", "'2G'", "from 1M to 1G")),
    "size-lower-case": ("[runs]\nsize = 8m", ("[runs] size", "'8m'", "from 1M to 1G")),
    "cooldown-negative": ("[access]\ncooldown = -1", ("[access] cooldown", "'-1'", "such as 90s")),
    "cooldown-a-word": ("[access]\ncooldown = soon", ("[access] cooldown", "'soon'", "such as 90s")),
    "cooldown-too-long": ("[access]\ncooldown = 86401", ("[access] cooldown", "at most 1d")),
    "cooldown-arabic": ("[access]\ncooldown = \u0661", ("[access] cooldown", "at most 1d")),
    "command-unknown": ("[puppet]\ncommand = device", ("[puppet] command", "'device'", "agent, apply")),
    "command-with-an-option": ("[puppet]\ncommand = agent --test", ("[puppet] command", "agent, apply")),
    "apply-alone": ("[puppet]\ncommand = apply", ("[puppet] command = apply", "manifest = /absolute/path")),
    "manifest-alone": ("[puppet]\nmanifest = /a", ("[puppet] manifest", "command = apply")),
    "manifest-relative": (
        "[puppet]\ncommand = apply\nmanifest = a.pp",
        ("[puppet] manifest", "'a.pp'", "an absolute path"),
    ),
    "path-relative": ("[puppet]\npath = puppet", ("[puppet] path", "'puppet'", "an absolute path")),
    "path-empty": ("[puppet]\npath =", ("[puppet] path", "''", "an absolute path")),
    "path-on-two-lines": ("[puppet]\npath = /a\n  b", ("[puppet] path", "/a\\nb", "an absolute path")),
    "path-with-nul": ("[puppet]\npath = /a\0b", ("[puppet] path", "/a\\x00b", "an absolute path")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "named"), BAD.values(), ids=BAD)
def test_a_fault_is_one_line_that_names_it(path: Path, text: str, named: tuple[str, ...]) -> None:
    path.write_text(text)
    fault = fault_in(path)
    for words in (os.fspath(path), *named):
        assert words in fault


def test_a_file_that_is_not_utf_8_is_a_fault(path: Path) -> None:
    path.write_bytes(b"[access]\n# caf\xe9\n")
    assert "not UTF-8 at byte 14" in fault_in(path)


def test_a_file_that_cannot_be_read_is_a_fault(path: Path) -> None:
    path.mkdir()
    assert "cannot be read: Is a directory" in fault_in(path)


@pytest.mark.parametrize(
    "text",
    ["[a\x1b[2Jb]\n", "[access]\nfrom\x1b[2J = ::1\n", "[access]\nx\u2028y = 1\n", "[a\x9b]\n[a\x9b]\n",
     "[access]\nx\rfrom = ::1\nx = 1\n", "[access]\nx\x1b =\nx\x1b =\n"],
)  # fmt: skip
def test_no_fault_repeats_a_control_character(path: Path, text: str) -> None:
    path.write_text(text)
    assert fault_in(path).isprintable()


@pytest.mark.parametrize("line", ["token:deploy = {}", "token:deploy = trigger {}", "anonymous =\n  {}"])
def test_no_fault_repeats_a_token_that_stands_where_a_grant_should(path: Path, line: str) -> None:
    secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U"
    path.write_text("[access]\n" + line.format(secret))
    assert secret not in fault_in(path)


# ---- a file that is lost is not the defaults, which may allow more


@pytest.mark.parametrize("text", ["", "\n", " ", "\t\r\n \n"])
def test_an_empty_file_is_a_fault(path: Path, text: str) -> None:
    path.write_text(text)
    assert fault_in(path) == f"{path}: is empty; puppet-twitch check says how to restore it"


# After a crash, a file system may leave a file with its length and without its content.
@pytest.mark.parametrize("data", [b"\0" * 512, b"\xef\xbb\xbf"], ids=["zeros", "byte-order-mark"])
def test_a_file_without_text_is_a_fault(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert "outside of any section" in fault_in(path)


def test_a_missing_file_is_a_fault(path: Path) -> None:
    assert fault_in(path) == f"{path}: does not exist; puppet-twitch check says how to restore it"
    assert "does not exist" in fault_in(path / "below" / "nothing")


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("none", "is a link to a file that does not exist"),
        ("/dev/null", "is empty"),
        ("puppet-twitch.conf", "cannot be read: Too many levels of symbolic links"),
    ],
    ids=["dangling", "null", "loop"],
)
def test_a_link_without_a_file_is_a_fault(path: Path, target: str, fault: str) -> None:
    path.symlink_to(target)
    assert f"{path}: {fault}" in fault_in(path)


def test_a_link_to_a_file_is_read(path: Path, tmp_path: Path) -> None:
    path.symlink_to("other")
    tmp_path.joinpath("other").write_text("[access]\ncooldown = 1\n")
    assert load(os.fspath(path)).cooldown_s == 1


def fault_in(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(os.fspath(path))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# ---- anything


lines = st.sampled_from(
    [
        "[access]",
        "[puppet]",
        "[tls]",
        "[x]",
        "from = ::/0",
        "from",
        "token:a = trigger",
        "command = apply",
        "  more",
    ]
) | st.text(max_size=20)


@given(text=st.lists(lines, max_size=8).map("\n".join) | st.text(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_configuration_or_a_fault(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        loaded = load(os.fspath(path))
    except ConfigError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
    else:
        assert loaded.networks != ()
        assert "anonymous" in loaded.grants
