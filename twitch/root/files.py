"""Replace a file whole: a reader sees the new content or the old one, never a part."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO


@contextlib.contextmanager
def replacing(path: str, temporary: str, mode: int) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `path` when the block ends; an error leaves `path` alone.

    `temporary` is where the file is written, in the same directory. It is made anew and never through a
    symbolic link, because another user may own the directory.
    """
    remove(temporary)  # left by a killed writer
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode)
    try:
        with open(descriptor, "wb") as file:
            yield file
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_json(path: str, fields: Mapping[str, Any], mode: int) -> None:
    """Replace a file in /run with a JSON object.

    No fsync: /run is memory, and a crash that loses the file loses the run too.
    """
    content = json.dumps(fields).encode("ascii")
    with replacing(path, f"{path}.{os.getpid()}", mode) as file:
        file.write(content)


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
