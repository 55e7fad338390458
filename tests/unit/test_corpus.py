"""Each parser of ours, with the files in corpus/ and variations of them: a value, or our one error.

A file that was an attack once, or may be one, is kept in the corpus for good. What a parser accepts must be
as harmless as if we had written it, and what it refuses takes little time and memory.

The variations are the same in each run. For others, or more of them:

    PUPPET_TWITCH_FUZZ=SEED,NUMBER python3 -m pytest tests/unit/test_corpus.py
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from tests.unit import fuzz_listener, fuzz_root
from tests.unit.fuzzing import bounded, variation

CORPUS = Path(__file__).parent / "corpus"
SEED, NUMBER = os.environ.get("PUPPET_TWITCH_FUZZ", "0,500").split(",")

PARSERS = {**fuzz_listener.PARSERS, **fuzz_root.PARSERS}
FILES = [f"{path.parent.name}/{path.name}" for path in sorted(CORPUS.glob("*/*"))]


@pytest.mark.parametrize("name", FILES)
def test_corpus_file_is_accepted_only_if_it_is_valid(name: str, tmp_path: Path) -> None:
    kind, _, file = name.partition("/")
    parser = PARSERS[kind]
    with bounded():
        accepted = parser.read((CORPUS / name).read_bytes(), tmp_path / "file")
    assert accepted is (file in parser.valid)


@pytest.mark.parametrize("kind", PARSERS)
def test_corpus_has_every_file_that_is_valid_and_what_we_write(kind: str, tmp_path: Path) -> None:
    parser = PARSERS[kind]
    assert set(parser.valid) <= {path.name for path in (CORPUS / kind).iterdir()}
    for name, data in parser.made.items():
        assert parser.read(data, tmp_path / "file"), name


@pytest.mark.parametrize("kind", PARSERS)
def test_variation_of_the_corpus_is_accepted_or_refused(kind: str, tmp_path: Path) -> None:
    parser = PARSERS[kind]
    seeds = [*parser.made.values(), *(path.read_bytes() for path in sorted((CORPUS / kind).iterdir()))]
    random = Random(SEED)
    for _ in range(int(NUMBER)):
        data = variation(random, seeds, parser.words)
        try:
            with bounded():
                parser.read(data, tmp_path / "file")
        except BaseException as error:
            (tmp_path / "found").write_bytes(data)
            raise AssertionError(f"corpus/{kind} needs a new file: {tmp_path / 'found'}") from error
