"""What `show` says of a real run, and that a real PuppetDB has the reports of the query that it prints."""

from __future__ import annotations

import json

import pytest

from tests.e2e.fleet_run import COMMAND, run
from tests.lab.fleet import Site
from twitch.fleet.show import ticket
from twitch.fleet.show.result_lines import from_json
from twitch.fleet.show.results import Results

NAMES = {"web1", "web2", "db1"}
QUERY = 'nodes[certname] { certname ~ "^(web[12]|db1)$" }'


def test_fleet_show_prints_a_query_that_finds_the_reports(
    three: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.server.manifest("production", "notify { 'hello': }")
    result = run(three, "--query", QUERY, "--label", "CHG-2")
    shown = json.loads(three.operator(COMMAND, "show", result.file, "--json").stdout)
    assert shown["headline"] == "all are good", result
    by_id = three.puppetdb.query(shown["query"])
    assert {(report["certname"], report["status"]) for report in by_id} == {
        (name, "changed") for name in NAMES
    }

    # Of many runs, the query names the time and the nodes instead of each run.
    monkeypatch.setattr(ticket, "MAX_IDS", 0)
    results = Results()
    for line in result.lines:
        results.add(from_json(json.dumps(line)))
    by_time = ticket.query(results) or ""
    assert "certname in nodes[certname]" in by_time
    found = {report["hash"] for report in three.puppetdb.query(by_time)}
    assert {report["hash"] for report in by_id} <= found


def test_fleet_show_prints_the_changes_and_the_nodes_of_one(three: Site) -> None:
    summary = three.operator(COMMAND, "show").stdout
    assert "Notify[hello]" in summary
    assert "site.pp:1" in summary
    names = three.operator(COMMAND, "show", "changed", "--names").stdout.split()
    assert set(names) == NAMES


def test_the_certificate_of_the_operator_has_its_issuer_behind_it(three: Site) -> None:
    # puppet-twitch-fleet(1), CERTIFICATES: the first certificate in Puppet's ca.pem is the CA that signs.
    names = "openssl crl2pkcs7 -nocrl -certfile cert.pem | openssl pkcs7 -print_certs -noout"
    lines = three.operator("bash", "-c", f"cd .config/puppet-twitch; {names}").stdout.splitlines()
    subjects, issuers = (
        [line.partition("=")[2] for line in lines if line.startswith(f"{what}=")]
        for what in ("subject", "issuer")
    )
    assert len(subjects) == 2
    assert (subjects[0].replace(" ", ""), subjects[1]) == ("CN=alice", issuers[0])
