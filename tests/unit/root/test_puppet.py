"""The command line and the environment of a run: exactly these words, in this order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitch.root import puppet
from twitch.root.puppet import Options

RUN = "0123456789abcdef0123456789abcdef"
LOG = f"/run/puppet-twitch/runs/{RUN}.jsonl"


def agent(site: tuple[str, ...] = (), logdest: str = "", **options: object) -> list[str]:
    chosen = Options(**options)  # type: ignore[arg-type]
    return puppet.agent_command("/bin/puppet", RUN, LOG, logdest=logdest, site=site, options=chosen)


AGENT = [
    "/bin/puppet",
    "agent",
    "--onetime",
    "--no-daemonize",
    "--no-usecacheonfailure",
    "--no-splay",
    f"--job-id={RUN}",
    "--detailed-exitcodes",
    "--color=false",
    "--no-show_diff",
    f"--logdest=syslog,{LOG}",
]


def test_an_agents_run() -> None:
    assert agent() == AGENT


def test_a_callers_options_come_last() -> None:
    assert agent(noop=True, tags=("a::b", "c"), environment="staging") == [
        *AGENT,
        "--noop",
        "--tags=a::b,c",
        "--environment=staging",
        "--strict_environment_mode",
    ]


def test_an_environment_alone_makes_it_strict() -> None:
    assert "--strict_environment_mode" not in agent(noop=True, tags=("a",))


def test_a_sites_options_come_first_so_that_ours_hold() -> None:
    assert agent(site=("--daemonize", "--noop")) == [*AGENT[:2], "--daemonize", "--noop", *AGENT[2:]]


def test_a_sites_own_log_destination_stays() -> None:
    assert agent(logdest="/var/log/puppet.log,syslog")[-1] == f"--logdest=/var/log/puppet.log,syslog,{LOG}"


@pytest.mark.parametrize(
    ("logdest", "without"),
    [
        ("console", "syslog"),
        ("syslog,console", "syslog"),
        ("console, /var/log/puppet.log", "/var/log/puppet.log"),
    ],
)
def test_it_never_logs_to_the_console(logdest: str, without: str) -> None:
    assert agent(logdest=logdest)[-1] == f"--logdest={without},{LOG}"


def test_a_masterless_run_has_a_report_of_its_own() -> None:
    options = Options(noop=True, tags=("a",), environment="staging")
    command = puppet.apply_command(
        "/bin/puppet", "/etc/site.pp", LOG, "/run/r.yaml", logdest="", site=("-v",), options=options
    )
    assert command == [
        "/bin/puppet",
        "apply",
        "-v",
        "--detailed-exitcodes",
        "--color=false",
        "--no-show_diff",
        f"--logdest=syslog,{LOG}",
        "--noop",
        "--tags=a",
        "--environment=staging",
        "--lastrunreport=/run/r.yaml",
        "/etc/site.pp",
    ]


# ---- what a site always passes


@pytest.mark.parametrize(
    ("written", "words"),
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
def test_a_sites_options_are_split_as_systemd_does(written: str | None, words: list[str]) -> None:
    environment = {} if written is None else {"PUPPET_EXTRA_OPTS": written}
    assert puppet.site_options(environment) == words


@given(text=st.text("ab '\"\\\n\t$#", max_size=20))
def test_any_text_is_split(text: str) -> None:
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
        "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "FDSTORE",
    ],
)  # fmt: skip
def test_what_systemd_says_to_us_is_not_said_to_puppet(name: str) -> None:
    assert name not in puppet.environment({name: "x", "PATH": "/bin"})


@pytest.mark.parametrize(
    "name",
    ["PATH", "HTTP_PROXY", "FACTER_role", "PUPPET_EXTRA_OPTS", "LC_ALL", "MY_NOTIFY_SOCKET", "listen_fds"],
)
def test_what_a_site_has_set_stays(name: str) -> None:
    assert puppet.environment({name: "x"})[name] == "x"


def test_what_puppet_needs_is_there() -> None:
    # Without PATH the agent breaks; without UTF-8 Ruby reads manifests as US-ASCII.
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert puppet.environment({}) == {"PATH": path, "LANG": "C.UTF-8"}
    assert puppet.environment({"LANG": "de_DE.UTF-8", "PATH": "/bin"})["LANG"] == "de_DE.UTF-8"
