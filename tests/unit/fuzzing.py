"""A small fuzzer: variations of the files of a corpus, and the bounds within which each has to be read."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Callable, NamedTuple

# No parser needs a tenth of these for an input within its limits. The time is CPU time, so that a busy
# machine changes nothing.
CPU_S = 5
MEMORY_BYTES = 64 * 1024 * 1024

# Of an input; one that is longer than its parser accepts has to be a file of the corpus.
MAX_BYTES = 8000
MAX_CHANGES = 5
# What makes an input long or deep, one piece at a time.
REPEATS = (1, 1, 2, 60, 1000)
LENGTHS = (0, 1, 1, 2, 5, 40)
ODD = (
    *(b"", b"\0", b"\n", b"\r\n", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"-1", b"1e400"),
    b"9" * 5000,
)


class Parser(NamedTuple):
    """A parser of ours, as the tests call it."""

    # Reads the data, which it may write to the path, and returns whether they are accepted. It asserts that
    # what is accepted is harmless. An input that is not accepted may raise nothing but our one error.
    read: Callable[[bytes, Path], bool]
    words: Sequence[bytes]  # which its format is made of
    valid: Sequence[str] = ()  # the files of the corpus that are accepted; any other one would be a hole
    made: Mapping[str, bytes] = {}  # more that is accepted, made by the code that writes it


def variation(random: Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Return one of the seeds with a few of its places removed, repeated or replaced."""
    data = random.choice(seeds)[:MAX_BYTES]
    for _ in range(random.randint(1, MAX_CHANGES)):
        start, end = _place(random, data)
        piece = random.choice(
            (b"", data[start:end], _word(random, words), _word(random, ODD), _graft(random, seeds))
        )
        repeat = min(random.choice(REPEATS), MAX_BYTES // max(1, len(piece)))
        data = (data[:start] + piece * repeat + data[end:])[:MAX_BYTES]
    return data


def _word(random: Random, words: Sequence[bytes]) -> bytes:
    return random.choice(words) if random.random() < 0.8 else random.randbytes(random.randint(1, 4))


def _graft(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Return a part of one of the seeds."""
    other = random.choice(seeds)[:MAX_BYTES]
    start, end = _place(random, other)
    return other[start:end]


def _place(random: Random, data: bytes) -> tuple[int, int]:
    """Return a part of the data: some bytes, or a whole line, because most formats are made of lines."""
    start = random.randint(0, len(data))
    if random.random() < 0.3:
        return data.rfind(b"\n", 0, start) + 1, data.find(b"\n", start) + 1 or len(data)
    return start, min(start + random.choice(LENGTHS), len(data))


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fail where the block takes more than CPU_S, or more than MEMORY_BYTES beyond what is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * os.sysconf("SC_PAGESIZE") + MEMORY_BYTES
    handler = signal.signal(signal.SIGVTALRM, _too_slow)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGVTALRM, handler)


def _too_slow(*_: object) -> None:
    raise AssertionError(f"the parser has used {CPU_S} s of CPU time")
