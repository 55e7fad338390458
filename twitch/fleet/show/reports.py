"""The files beside the result file: JUnit's XML, the page, the nodes that remain."""

from __future__ import annotations

import os
from typing import NamedTuple, Optional

from twitch.errors import UsageError
from twitch.fleet.show.results import Results


class Files(NamedTuple):
    """Where to write what; None: not at all."""

    junit: Optional[str] = None
    html: Optional[str] = None
    remaining: Optional[str] = None

    def check(self) -> None:
        """Raise `UsageError` for a file that cannot be written: before a run, and not after hours of it."""
        for path in self:
            if path is None:
                continue
            folder = os.path.dirname(path) or "."
            if os.path.isdir(path):
                raise UsageError(f"{path} is a directory; name a file")
            if not os.path.isdir(folder):
                raise UsageError(f"{path} cannot be written: there is no directory {folder}")
            if not os.access(path if os.path.exists(path) else folder, os.W_OK):
                raise UsageError(f"{path} cannot be written: permission denied")

    def write(self, results: Results, *, result: Optional[str]) -> list[str]:
        """Write the files; return a sentence for each that could not be written.

        `result` is the result file, which the page names in commands to paste.
        """
        errors = []
        for path, content in (
            (self.junit, _junit),
            (self.html, lambda results: _page(results, result)),
            (self.remaining, _remaining),
        ):
            if path is None:
                continue
            try:
                with open(path, "w", encoding="utf-8", newline="\n") as file:
                    file.write(content(results))
            except OSError as error:
                errors.append(f"{path} cannot be written: {error.strerror}")
        return errors


# Each is imported only where it is asked for: a run without these files starts faster.


def _junit(results: Results) -> str:
    from twitch.fleet.show.junit import junit_of

    return junit_of(results)


def _page(results: Results, result: Optional[str]) -> str:
    from twitch.fleet.show.html import page_of

    return page_of(results, path=result)


def _remaining(results: Results) -> str:
    return "".join(f"{name}\n" for name in results.remaining())
