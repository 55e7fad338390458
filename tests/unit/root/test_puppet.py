"""The command line and the environment of a run: exactly these words, in this order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.records import Options
from twitch.root import puppet

RUN = "0123456789abcdef0123456789abcdef"


def agent_command(site: tuple[str, ...] = (), logdest: str = "", **options: object) -> list[str]:
    chosen = Options(**options)  # type: ignore[arg-type]
    return puppet.agent_command("/bin/puppet", RUN, logdest=logdest, site=site, options=chosen)


AGENT = [
    "/bin/puppet",
    "agent",
    "--onetime",
    "--no-daemonize",
    "--no-usecacheonfailure",
    "--no-splay",
    "--no-use_cached_catalog",
    "--waitforcert=0",
    f"--job-id={RUN}",
    "--detailed-exitcodes",
    "--color=false",
    "--no-show_diff",
    "--logdest=syslog",
]


def test_agent_command() -> None:
    assert agent_command() == AGENT


def test_options_of_the_caller_come_last() -> None:
    assert agent_command(noop=True, tags=("a::b", "c"), environment="staging") == [
        *AGENT,
        "--noop",
        "--tags=a::b,c",
        "--environment=staging",
        "--strict_environment_mode",
    ]


def test_environment_is_strict_only_if_the_caller_chose_one() -> None:
    assert "--strict_environment_mode" not in agent_command(noop=True, tags=("a",))


def test_options_of_the_site_come_before_ours() -> None:
    assert agent_command(site=("--daemonize", "--noop")) == [*AGENT[:2], "--daemonize", "--noop", *AGENT[2:]]


def test_log_destination_of_the_site_is_kept() -> None:
    assert agent_command(logdest="/var/log/puppet.log,syslog")[-1] == "--logdest=/var/log/puppet.log,syslog"


def test_log_destination_always_has_the_journal() -> None:
    assert agent_command(logdest="/var/log/puppet.log")[-1] == "--logdest=/var/log/puppet.log,syslog"


@pytest.mark.parametrize(
    ("logdest", "destinations"),
    [
        ("console", "syslog"),
        ("syslog,console", "syslog"),
        ("console, /var/log/puppet.log", "/var/log/puppet.log,syslog"),
    ],
)
def test_log_destination_is_never_the_console(logdest: str, destinations: str) -> None:
    assert agent_command(logdest=logdest)[-1] == f"--logdest={destinations}"


def test_apply_command_has_a_report_of_its_own() -> None:
    options = Options(noop=True, tags=("a",), environment="staging")
    command = puppet.apply_command(
        "/bin/puppet", "/etc/site.pp", "/run/r.yaml", logdest="", site=("-v",), options=options
    )
    assert command == [
        "/bin/puppet",
        "apply",
        "-v",
        "--detailed-exitcodes",
        "--color=false",
        "--no-show_diff",
        "--logdest=syslog",
        "--noop",
        "--tags=a",
        "--environment=staging",
        "--lastrunreport=/run/r.yaml",
        "/etc/site.pp",
    ]


# ---- PUPPET_EXTRA_OPTS


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(None, [], id="unset"),
        pytest.param("", [], id="empty"),
        pytest.param("  ", [], id="blank"),
        pytest.param("--noop", ["--noop"], id="one"),
        pytest.param("--noop\t --verbose\n", ["--noop", "--verbose"], id="blanks"),
        pytest.param("--tags 'a b'", ["--tags", "a b"], id="single-quotes"),
        pytest.param('--tags "a b"', ["--tags", "a b"], id="double-quotes"),
        pytest.param("--tags='a b',c", ["--tags=a b,c"], id="quotes-in-a-word"),
        pytest.param("''", [""], id="empty-word"),
        pytest.param(r"C:\puppet", [r"C:\puppet"], id="backslash"),
        pytest.param(r'"a\"', ["a\\"], id="backslash-before-a-quote"),
        pytest.param("# --b; $(c) `d` | e>f", ["#", "--b;", "$(c)", "`d`", "|", "e>f"], id="no-shell"),
        pytest.param("--a 'never closed", ["--a", "never closed"], id="never-closed"),
        pytest.param("--a '", ["--a"], id="never-closed-and-empty"),
        pytest.param("--été", ["--été"], id="non-ascii"),
    ],
)  # fmt: skip
def test_options_of_the_site_are_split_as_systemd_does(value: str | None, words: list[str]) -> None:
    environment = {} if value is None else {"PUPPET_EXTRA_OPTS": value}
    assert puppet.site_options(environment) == words


@given(text=st.text("ab '\"\\\n\t$#", max_size=20))
def test_any_options_of_the_site_are_split(text: str) -> None:
    words = puppet.site_options({"PUPPET_EXTRA_OPTS": text})
    unquoted = str.maketrans("", "", " \t\n'\"")
    assert "".join(words).translate(unquoted) == text.translate(unquoted)


# ---- the environment


@pytest.mark.parametrize(
    "name",
    [
        "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
        "INVOCATION_ID", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY",
        "CACHE_DIRECTORY", "LOGS_DIRECTORY", "CONFIGURATION_DIRECTORY", "MAINPID", "MANAGERPID",
        "SYSTEMD_EXEC_PID", "SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS", "REMOTE_ADDR", "REMOTE_PORT",
        "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "FDSTORE", "SO_COOKIE", "MAINPIDFDID",
        "MANAGERPIDFDID", "LISTEN_PIDFDID",
    ],
)  # fmt: skip
def test_environment_has_no_variable_of_systemd(name: str) -> None:
    assert name not in puppet.environment({name: "x", "PATH": "/bin"})


@pytest.mark.parametrize(
    "name",
    ["PATH", "HTTP_PROXY", "FACTER_role", "PUPPET_EXTRA_OPTS", "LC_ALL", "MY_NOTIFY_SOCKET", "listen_fds"],
)
def test_environment_keeps_the_variables_of_the_site(name: str) -> None:
    assert puppet.environment({name: "x"})[name] == "x"


def test_environment_always_has_a_path_and_a_utf_8_locale() -> None:
    # Without PATH the agent breaks; without UTF-8 Ruby reads manifests as US-ASCII.
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert puppet.environment({}) == {"PATH": path, "LANG": "C.UTF-8"}
    assert puppet.environment({"LANG": "de_DE.UTF-8", "PATH": "/bin"})["LANG"] == "de_DE.UTF-8"
