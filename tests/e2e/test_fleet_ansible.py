"""The Ansible collection on a real site: each node over TLS, the fleet, and the inventory of PuppetDB.

With Debian 13's ansible-core on the operator's machine, and with that of the machine that runs the tests,
which is Debian 12's. tests/unit/drivers/test_ansible.py goes through every verdict, also with PyPI's.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.fleet import HOME, OPERATOR, Site
from tests.lab.install import SOURCE

PLAYBOOKS = Path(__file__).parent / "ansible"
REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ("web1", "web2", "db1")
CREDENTIALS = f"{HOME}/.config/puppet-twitch"

# The second one fails on db1, after the file.
MANIFEST = """\
file {{ '{file}': content => "by Ansible\\n" }}
if $trusted['certname'] == 'db1' {{ exec {{ '/bin/false': require => File['{file}'] }} }}
"""

INVENTORY = """\
plugin: puppet_twitch.node.puppetdb
url: [https://puppet:8081]
query: nodes[certname, latest_report_status] { }
facts: [os.family]
address_fact: networking.ip
groups:
  failing: puppet_latest_report_status == "failed"
keyed_groups:
  - {key: puppet_facts.os.family | lower, prefix: os}
"""


@pytest.fixture(scope="module")
def collection(site: Site) -> None:
    """Install the collection for the operator."""
    site.machine.sh(
        f"cd {SOURCE} && make collection && cp dist/puppet_twitch-node-*.tar.gz {HOME}"
        f" && cp -r tests/e2e/ansible {HOME}/ && chown -R {OPERATOR}: {HOME}/*"
    )
    site.operator("sh", "-c", "ansible-galaxy collection install --offline puppet_twitch-node-*.tar.gz")


def variables(file: str, credentials: str) -> str:
    return json.dumps({
        "file": file, "credentials": credentials, "label": "CHG-123", "result": f"{HOME}/fleet.jsonl",
    })  # fmt: skip


def test_fleet_playbooks_with_debian_13(three: Site, collection: None) -> None:
    site, file = three, "/root/by-debian-13"
    site.server.manifest("production", MANIFEST.format(file=file))
    options = ["-e", variables(file, CREDENTIALS), "-e", "ansible_python_interpreter=/usr/bin/python3"]
    done = site.operator(
        "ansible-playbook", "-i", f"{','.join(NAMES)},", *options, "ansible/site.yml", timeout_s=300
    )
    assert "failed=0" in done.stdout
    write = f"cat >site.puppetdb.yml <<'END'\n{_inventory()}END"
    site.operator("sh", "-c", write)
    done = site.operator(
        "ansible-playbook", "-i", "site.puppetdb.yml", *options, "ansible/fleet.yml", timeout_s=300
    )
    assert "failed=0" in done.stdout
    reports = site.puppetdb.query("reports[job_id, certname] { order by producer_timestamp desc limit 3 }")
    lines = [json.loads(line) for line in site.machine.read(f"{HOME}/fleet.jsonl").splitlines()]
    proven = {line["run"] for line in lines if line.get("event") == "proven"}
    assert {report["job_id"] for report in reports} >= proven > set()


def test_fleet_playbook_with_debian_12(three: Site, tmp_path: Path) -> None:
    site, file = three, "/root/by-debian-12"
    site.server.manifest("production", MANIFEST.format(file=file))
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text(site.machine.read(f"{CREDENTIALS}/{name}"))
    hosts = [f"{name} ansible_host={site.nodes[name].netns.addresses[0]}\n" for name in NAMES]
    (tmp_path / "hosts").write_text("".join(hosts))
    node = tmp_path / "collections/ansible_collections/puppet_twitch/node"
    node.parent.mkdir(parents=True)
    node.symlink_to(REPOSITORY / "ansible-collection")
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": os.fspath(tmp_path), "LANG": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": os.fspath(tmp_path / "collections"),
    }  # fmt: skip
    words = ("/usr/bin/ansible-playbook", "-i", "hosts", "-e", variables(file, os.fspath(tmp_path)))
    done = subprocess.run(
        [*words, PLAYBOOKS / "site.yml"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def _inventory() -> str:
    files = {"ca_path": "ca", "client_cert": "cert", "client_key": "key"}
    lines = [f"{option}: {CREDENTIALS}/{name}.pem\n" for option, name in files.items()]
    return INVENTORY + "".join(lines)
