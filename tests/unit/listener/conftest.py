"""Certificates for the tests of TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.pki import PKI


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def credentials(pki: PKI, tmp_path: Path) -> Path:
    return pki.hand_over(tmp_path / "credentials", *pki.certificate("node"))
