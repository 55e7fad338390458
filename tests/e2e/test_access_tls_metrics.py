"""A real Prometheus scrapes nodes: by address over plain HTTP, with a token over TLS, with a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e import access, pki, stub
from tests.e2e.prometheus import prometheus
from tests.lab.machine import Machine
from tests.lab.network import addresses
from tests.lab.server import PuppetServer

GRANTS = "anonymous =\ntoken:prometheus = metrics\ncert:prometheus = metrics\n"
# The shipped rules, without the time for which an alert has to hold before it fires.
RULES = Path(__file__).resolve().parents[2] / "packaging/prometheus/puppet-twitch.rules.yml"


def job(name: str, node: Machine, **options: Any) -> dict[str, Any]:
    """Return a job that scrapes one node."""
    targets = [{"targets": [f"{node.address}:2023"], "labels": {"node": node.name}}]
    return {"job_name": name, "static_configs": targets, **options}


def test_prometheus_scrapes_and_alerts(
    tls_node12: Machine, agent13: Machine, server: PuppetServer, tmp_path: Path
) -> None:
    # node12 has TLS, a token and a certificate of Prometheus's own; node13 knows it by its address.
    token, line = access.new_token(tls_node12, "prometheus")
    access.write_tokens(tls_node12, line)
    pki.tls_on(tls_node12, GRANTS)
    pki.issue(server, tls_node12, "prometheus", "/CN=prometheus")
    stub.clear(agent13)
    stub.stub_puppet(agent13, access=f"from = {addresses(1)[0]} 127.0.0.1\nanonymous = metrics")
    agent13.write(stub.STUB_DISABLED, '{"disabled_message": "maintenance"}')
    agent13.sh(f"touch --date='2 days ago' {stub.STUB_DISABLED}")

    for name in ("prometheus.pem", "prometheus.key"):
        (tmp_path / name).write_text(tls_node12.read(f"{pki.CERTS}/{name}"))
    (tmp_path / "ca.pem").write_text(tls_node12.read(f"{pki.SSL}/certs/ca.pem"))
    (tmp_path / "token").write_text(token)
    tls = {"ca_file": str(tmp_path / "ca.pem"), "server_name": tls_node12.name}
    own = {"cert_file": str(tmp_path / "prometheus.pem"), "key_file": str(tmp_path / "prometheus.key")}
    authorization = {"credentials_file": str(tmp_path / "token")}
    jobs = [
        job("address", agent13),
        job("token", tls_node12, scheme="https", tls_config=tls, authorization=authorization),
        job("certificate", tls_node12, scheme="https", tls_config={**tls, **own}),
        job("nobody", tls_node12, scheme="https", tls_config=tls),
    ]
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "\n".join(text for text in RULES.read_text().splitlines() if not text.startswith("        for: "))
    )
    with prometheus(tmp_path, jobs, rules) as server_under_test:
        for name, state in (("address", "disabled"), ("token", "idle"), ("certificate", "idle")):
            (found,) = server_under_test.wait(f'puppet_agent_state{{job="{name}"}} == 1')
            assert found["state"] == state
        (alert,) = server_under_test.wait('ALERTS{alertname="PuppetDisabledTooLong",alertstate="firing"}')
        assert (alert["job"], alert["severity"]) == ("address", "warning")
        assert server_under_test.wait('up{job="nobody"} == 0')
        assert not server_under_test.query('puppet_agent_state{job="nobody"}')
        without_a_run = {"token", "certificate"}
        never = server_under_test.wait(
            'ALERTS{alertname="PuppetNeverRun",alertstate="firing"}', jobs=without_a_run
        )
        assert {alert["job"] for alert in never} == without_a_run
    tls_node12.sh(f"rm {access.TOKENS}")
    stub.clear(agent13)
