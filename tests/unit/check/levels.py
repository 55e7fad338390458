"""Findings by their level, for assertions."""

from __future__ import annotations

from collections.abc import Iterable

from twitch.check.findings import Finding


def of_level(findings: Iterable[Finding], level: str) -> list[Finding]:
    """Return the findings of one level."""
    return [finding for finding in findings if finding.level == level]


def texts(findings: Iterable[Finding], level: str) -> list[str]:
    """Return the texts of the findings of one level."""
    return [finding.text for finding in of_level(findings, level)]
