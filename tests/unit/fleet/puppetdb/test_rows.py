"""Values in the rows of PuppetDB."""

from __future__ import annotations

import pytest

from twitch.fleet.puppetdb import rows


@pytest.mark.parametrize(
    ("value", "epoch"),
    [
        ("2026-11-26T11:41:07.155Z", 1795693267.155),
        ("2026-11-26T11:41:07Z", 1795693267.0),
        ("2026-11-26T12:41:07.155+01:00", 1795693267.155),
        ("yesterday", None),
        (None, None),
        (1795693267, None),
    ],
)
def test_a_timestamp_is_epoch_seconds(value: object, epoch: object) -> None:
    assert rows.epoch(value) == epoch


def test_chunks_have_every_value_once() -> None:
    assert list(rows.chunks([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(rows.chunks([], 2)) == []
