"""What a report says of resources, as Puppet 7.23 and 8.10 and OpenVox 9.0 rc1 write it, in YAML and in JSON.

The reports are of details.pp beside them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.reports import report
from twitch.record_files import encode
from twitch.records import Record
from twitch.resources import Event, Resource
from twitch.root import plain_yaml, report_content, report_to_record
from twitch.root.report import PHASES, Report, read
from twitch.root.yaml_lines import Scalars

REAL = Path(__file__).parents[1] / "reports_of_puppet"
VERSIONS = {"puppet7": "7.23.0", "puppet8": "8.10.0", "puppet9": "9.0.0-rc1"}
SITE = "/root/details.pp"

every_report = pytest.mark.parametrize(
    "name", [f"{puppet}-details.{ending}" for puppet in VERSIONS for ending in ("yaml", "json")]
)


def real(name: str) -> Report:
    found = read(os.fspath(REAL / name))
    assert found is not None
    return found


def outcomes(found: Report) -> dict[str, list[str]]:
    """Return the names of the resources by their outcome."""
    return {
        outcome: [resource.resource for resource in found.resources if resource.outcome == outcome]
        for outcome in dict.fromkeys(resource.outcome for resource in found.resources)
    }


@every_report
def test_resources_of_a_real_report_by_outcome(name: str) -> None:
    found = real(name)
    assert outcomes(found) == {
        "failed": ["Exec[/bin/false]"],
        "failed to restart": ["Exec[/bin/false again]"],
        "changed": [
            "File[/tmp/details/content]",
            "File[/tmp/details/mode and content]",
            "File[/tmp/details/sensitive]",
            "Masked[db]",
            "Exec[names a secret]",
            "Notify[refreshes]",
            "Exec[a title that is long enough for the lines of a report to be folded,"
            " which happens after eighty letters]",
            "File[/tmp/details/ü #1: 'x']",
            'File[/tmp/details/"quoted" \\ x]',
            "File[/tmp/details/'single']",
        ],
        "would change": ["File[/tmp/details/kept by noop]", "Notify[held by noop]"],
        # But not Notify[not now], which is skipped because of its schedule.
        "skipped": ["Notify[after a failure]", "Notify[after a skipped one]"],
    }
    assert (found.counts["skipped"], found.resources_left_out) == (3, 0)


@every_report
def test_resource_of_a_real_report_has_its_place_and_events(name: str) -> None:
    found = {resource.resource: resource for resource in real(name).resources}
    failed = "change from 'notrun' to ['0'] failed: '/bin/false' returned 1 instead of one of [0]"
    assert found["Exec[/bin/false]"] == Resource(
        "Exec[/bin/false]", "failed", False, SITE, 9, (Event("returns", "failure", failed),)
    )
    held = found["File[/tmp/details/kept by noop]"]
    assert (held.line, held.events[0].property, held.events[0].status) == (6, "content", "noop")
    message = held.events[0].message or ""
    assert "'{sha256}e3b0c4" in message  # which Puppet 7 and 8 word differently
    assert message.endswith("977d4c' (noop)")
    assert found["Exec[/bin/false again]"].events[0].property is None
    assert found["Notify[after a failure]"] == Resource(
        "Notify[after a failure]", "skipped", False, SITE, 9, ()
    )


@every_report
def test_values_of_a_real_report_reach_no_record(name: str) -> None:
    # A type that masks only its message leaves the values in clear in its report.
    assert "secret-of-the-module" in (REAL / name).read_text()
    found = real(name)
    written = encode(report_to_record.with_report(Record("1" * 32, "finished", 1.0), found)).decode()
    for value in ("secret-of-the-module", "old-secret", "secret-of-the-file", "secret-of-the-output"):
        assert value not in written
    (masked,) = (resource for resource in found.resources if resource.resource == "Masked[db]")
    assert masked.events == (Event("password", "success", "password changed"),)


@every_report
def test_fields_of_a_real_report(name: str) -> None:
    found = real(name)
    assert found.puppet_version == VERSIONS[name.partition("-")[0]]
    assert found.events == {"success": 10, "failure": 2, "noop": 2}
    assert (found.corrective_change, found.server_used) == (False, None)
    assert len((found.transaction_uuid or "").replace("-", "")) == 32
    assert (found.configuration_version or "").isdigit()
    assert {"config_retrieval", "catalog_application"} <= set(found.phases_s) <= set(PHASES)
    assert all(seconds >= 0 for seconds in found.phases_s.values())


@pytest.mark.parametrize("puppet", VERSIONS)
def test_real_report_in_yaml_is_what_a_parser_reads(puppet: str) -> None:
    text = (REAL / f"{puppet}-details.yaml").read_text().partition("\n")[2]  # without Ruby's tag
    content: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
    for resource in real(f"{puppet}-details.yaml").resources:
        (status,) = (
            one
            for one in content["resource_statuses"].values()
            if " ".join(one["resource"].split()) == resource.resource
        )
        assert (resource.file, str(resource.line)) == (status["file"], status["line"])
        assert [(event.property or "", event.status, event.message) for event in resource.events] == [
            (one["property"], one["status"], one["message"]) for one in status["events"]
        ]


# ---- what is listed


def test_corrective_change_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text(report().replace("    corrective_change: false", "    corrective_change: true"))
    found = read(os.fspath(path))
    assert found is not None
    assert [resource.corrective for resource in found.resources] == [True]


def test_resources_that_are_not_kept_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_content, "MAX_RESOURCES", 2)
    path = tmp_path / "report"
    head, statuses, rest = report(failed=("Exec[-x]",)).partition("resource_statuses:\n")
    entries = rest[: rest.index("corrective_change: false\ncatalog")]
    path.write_text(head + statuses + entries * 5 + rest[len(entries) :])
    found = read(os.fspath(path))
    assert found is not None
    assert [resource.outcome for resource in found.resources] == ["failed"] * 2 + ["changed"] * 2
    assert found.resources_left_out == 6


def test_skipped_resources_without_a_failed_dependency_are_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "report"
    skipped = report().replace("    changed: true\n", "    changed: false\n    skipped: true\n")
    for text, listed in ((skipped, []), (skipped.replace("- level: err", "- level: warning"), ["skipped"])):
        path.write_text(text.replace("Exec[fails]/returns", "File[/root/fine]").replace("Main/", ""))
        found = read(os.fspath(path))
        assert found is not None
        assert [resource.outcome for resource in found.resources] == listed


# ---- single values, with and without a parser


@given(value=st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=200))
def test_any_value_is_what_a_parser_reads(value: str) -> None:
    written = yaml.safe_dump({"x": value}, allow_unicode=True).partition(":")[2]
    parsed = plain_yaml.load(f"x:{written}")
    assert isinstance(parsed, dict)
    assert Scalars().read(written) == parsed["x"]
