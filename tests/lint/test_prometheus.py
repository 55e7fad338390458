"""What is shipped for Prometheus and Grafana: accepted by promtool, and about metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.test_metrics import FULL
from twitch import metrics

REPOSITORY = Path(__file__).resolve().parents[2]
PROMTOOL = REPOSITORY / "build/prometheus/promtool"
SHIPPED = REPOSITORY / "packaging/prometheus"
RULES, DASHBOARD = SHIPPED / "puppet-twitch.rules.yml", SHIPPED / "puppet-twitch-dashboard.json"
RULES_TESTS = sorted(SHIPPED.glob("rules-test*.yml"))

METRIC = re.compile(r"\bpuppet_[a-z_]+")


@pytest.mark.parametrize("words", [("check", "rules", RULES), ("test", "rules", *RULES_TESTS)])
def test_promtool_accepts_the_rules(words: tuple[str, ...]) -> None:
    done = subprocess.run([PROMTOOL, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("figures", [FULL, None], ids=["read", "unread"])
def test_promtool_accepts_the_metrics(figures: metrics.Figures | None) -> None:
    text = metrics.text(figures)
    for form in (text, metrics.for_textfile(text)):
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=form, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("alert", re.findall(r"- alert: (\w+)", RULES.read_text()))
def test_every_rule_has_a_test_in_which_it_fires(alert: str) -> None:
    test = "".join(path.read_text() for path in RULES_TESTS)
    assert re.search(rf"alertname: {alert}\n\s+exp_alerts:\n", test)


def test_rules_and_dashboard_name_metrics_that_exist() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries = [str(variable["query"]) for variable in dashboard["templating"]["list"]]
    rules = [line for line in RULES.read_text().splitlines() if line.strip().startswith("expr: ")]
    named = METRIC.findall("\n".join(expressions + queries + rules))
    assert len(expressions) >= 10 and len(rules) >= 10
    assert set(named) <= set(metrics.HELP)


def test_every_metric_is_in_the_man_page() -> None:
    page = (REPOSITORY / "packaging/man/puppet-twitch.1").read_text()
    others = {"puppet_twitch", "puppet_version"}  # a directory, and a field of a run
    assert set(METRIC.findall(page)) - others == set(metrics.HELP)
