"""The collection puppet_twitch.node in real playbooks, against a real listener and with the real command."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.drivers.answering_node import AnsweringNode
from tests.unit.pki import PKI

REPOSITORY = Path(__file__).resolve().parents[3]
COLLECTION = REPOSITORY / "ansible-collection"
PLAYBOOKS = COLLECTION / "tests/integration"
LIMIT_S = 240

# That of Debian 12, which tests/prepare installs, and the newest that a Python here can run.
VERSIONS = {"debian": Path("/usr/bin"), "pypi": REPOSITORY / "build/venv-ansible/bin"}


class Ansible:
    """The tools of one version of ansible-core, with nothing of this user's configuration."""

    def __init__(self, tools: Path, directory: Path) -> None:
        self._tools, self.directory = tools, directory
        node = directory / "collections/ansible_collections/puppet_twitch/node"
        node.parent.mkdir(parents=True)
        node.symlink_to(COLLECTION)

    def run(self, tool: str, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a tool to its end."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": os.fspath(self.directory),
            "LANG": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": os.fspath(self.directory / "collections"),
            "ANSIBLE_ROLES_PATH": os.fspath(PLAYBOOKS / "targets"),
            "ANSIBLE_NOCOLOR": "1",
        }
        return subprocess.run(
            [self._tools / tool, *(str(word) for word in words)],
            cwd=self.directory, env=environment, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip

    def play(self, playbook: str, host: str, variables: Mapping[str, object]) -> str:
        """Run a playbook that has to succeed, and return its output with all that -vvv shows."""
        (self.directory / "variables.json").write_text(json.dumps(variables))
        (self.directory / "hosts").write_text(f"{host}\n")
        words = ("-vvv", "-i", "hosts", "-e", "@variables.json", PLAYBOOKS / playbook)
        done = self.run("ansible-playbook", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(params=VERSIONS)
def ansible(request: pytest.FixtureRequest, tmp_path: Path) -> Ansible:
    """Return each version of ansible-core in turn."""
    return Ansible(VERSIONS[request.param], tmp_path)


@pytest.fixture
def pypi_ansible(tmp_path: Path) -> Ansible:
    """Return the newest version."""
    return Ansible(VERSIONS["pypi"], tmp_path)


def closed_port() -> int:
    """Return a port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
        return port


def test_playbook_goes_through_every_verdict(
    ansible: Ansible, answering: AnsweringNode, disabled: AnsweringNode, busy: AnsweringNode
) -> None:
    variables = {
        "twitch_port": answering.port,
        "twitch_disabled_port": disabled.port,
        "twitch_busy_port": busy.port,
        "twitch_closed_port": closed_port(),
        "twitch_token": answering.tokens["deploy"],
        "twitch_small_token": answering.tokens["small"],
    }
    before = len(answering.asked)
    # The name of the host is that of the node, and not where it is.
    output = ansible.play("verdicts.yml", "web1.example.com ansible_host=127.0.0.1", variables)
    assert "skipped=2" in output
    assert answering.tokens["deploy"] not in output
    labels = [run.label for run in answering.asked[before:]]
    assert labels.count("late") == 1
    assert "forbidden" not in labels


def test_playbook_runs_a_fleet(
    pypi_ansible: Ansible, answering_tls: AnsweringNode, pki: PKI, ca: str, fleet: str
) -> None:
    cert, key = pki.certificate("operator")
    variables = {
        "twitch_node": "localhost",
        "twitch_tls_port": answering_tls.port,
        "twitch_ca": ca,
        "twitch_cert": os.fspath(cert),
        "twitch_key": os.fspath(key),
        "twitch_fleet": fleet,
        "twitch_directory": os.fspath(pypi_ansible.directory),
        "ansible_connection": "local",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    pypi_ansible.play("fleet.yml", "localhost", variables)
    assert {run.caller for run in answering_tls.asked} == {"cert:operator"}


def test_readme_has_a_task_without_the_collection(
    pypi_ansible: Ansible, answering_tls: AnsweringNode, ca: str
) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    (task,) = re.findall(r"^    - ansible.builtin.uri:\n(?:      .*\n)+", readme, re.MULTILINE)
    task = task.replace(":2023/", f":{answering_tls.port}/").replace("/etc/puppet/ssl/certs/ca.pem", ca)
    head = "- hosts: all\n  gather_facts: false\n  tasks:\n"
    (pypi_ansible.directory / "uri.yml").write_text(head + task)
    before = len(answering_tls.asked)
    variables = {"twitch_token": answering_tls.tokens["deploy"], "ansible_connection": "local"}
    interpreter = {"ansible_python_interpreter": "/usr/bin/python3"}
    playbook = os.fspath(pypi_ansible.directory / "uri.yml")
    output = pypi_ansible.play(playbook, "localhost", {**variables, **interpreter})
    assert answering_tls.tokens["deploy"] not in output
    assert [run.queue for run in answering_tls.asked[before:]] == [True]


# ---- the inventory

QUERY = 'nodes[certname, latest_report_status] { report_environment = "production" }'
FACTS: dict[str, dict[str, Any]] = {
    "web1": {"facts.os.family": "Debian", "facts.networking.ip": "192.0.2.1"},
    "web2": {"facts.os.family": "{{ 1 + 1 }}", "facts.networking.ip": None},
}
INVENTORY = f"""\
plugin: puppet_twitch.node.puppetdb
url: [http://127.0.0.1:@CLOSED@, http://127.0.0.1:@PORT@]
query: {QUERY}
facts: [os.family]
address_fact: networking.ip
strict: true
compose:
  status: puppet_latest_report_status
groups:
  failing: puppet_latest_report_status == "failed"
keyed_groups:
  - {{key: puppet_facts.os.family | lower, prefix: os}}
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: cache
"""


class PuppetDB(ThreadingHTTPServer):
    """Answers the two queries of the plugin; `asked` are the queries."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[Any] = []
        self.answer: bytes | None = None  # in place of the rows


class Handler(BaseHTTPRequestHandler):
    server: PuppetDB

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/pdb/query/v4"
        self.server.asked.append(body["query"])
        columns = ["certname", "facts.os.family", "facts.networking.ip"]
        extract = ["extract", columns, ["in", "certname", ["array", ["web1", "web2"]]]]
        rows: list[dict[str, object]] = []
        if body["query"] == QUERY:
            states = {"web1": "changed", "web2": "failed"}
            rows = [{"certname": name, "latest_report_status": state} for name, state in states.items()]
        elif body["query"] == ["from", "inventory", extract]:
            rows = [{"certname": name, **facts} for name, facts in FACTS.items()]
        answer = self.server.answer or json.dumps(rows).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def puppetdb() -> Iterator[PuppetDB]:
    """Return a PuppetDB with two nodes."""
    with PuppetDB() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def inventory(ansible: Ansible, puppetdb: PuppetDB) -> subprocess.CompletedProcess[str]:
    """Read the inventory."""
    text = INVENTORY.replace("@PORT@", str(puppetdb.server_port)).replace("@CLOSED@", str(closed_port()))
    (ansible.directory / "site.puppetdb.yml").write_text(text)
    return ansible.run("ansible-inventory", "-i", "site.puppetdb.yml", "--list")


def unmarked(item: dict[str, Any]) -> Any:
    """Return what ansible-core 2.19 and later marks in its output: each text that is no template."""
    return item.get("__ansible_unsafe", item)


def test_inventory_has_the_nodes_of_puppetdb(ansible: Ansible, puppetdb: PuppetDB) -> None:
    done = inventory(ansible, puppetdb)
    assert done.returncode == 0, done.stderr
    hosts = json.loads(done.stdout, object_hook=unmarked)
    variables = hosts["_meta"]["hostvars"]
    assert variables["web1"] == {
        "ansible_host": "192.0.2.1",
        "puppet_facts": {"networking": {"ip": "192.0.2.1"}, "os": {"family": "Debian"}},
        "puppet_latest_report_status": "changed",
        "status": "changed",
    }
    assert "ansible_host" not in variables["web2"]
    assert hosts["failing"]["hosts"] == ["web2"]
    assert hosts["os_debian"]["hosts"] == ["web1"]
    assert len(puppetdb.asked) == 2
    assert json.loads(inventory(ansible, puppetdb).stdout, object_hook=unmarked) == hosts
    assert len(puppetdb.asked) == 2  # the second time is from the cache


def test_a_fact_is_never_a_template(ansible: Ansible, puppetdb: PuppetDB) -> None:
    inventory(ansible, puppetdb)
    words = ("web2", "-i", "site.puppetdb.yml", "-c", "local", "-m", "debug", "-a", "msg={{ puppet_facts }}")
    done = ansible.run("ansible", *words)
    assert (done.returncode, "{{ 1 + 1 }}" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b'[{"certname": "we', "is cut"), (b'[{"count": 3}]', "rows without certname"), (b"{}", "not a list")],
)
def test_inventory_says_what_is_wrong_with_an_answer(
    pypi_ansible: Ansible, puppetdb: PuppetDB, answer: bytes, error: str
) -> None:
    puppetdb.answer = answer
    assert error in " ".join(inventory(pypi_ansible, puppetdb).stderr.split())
