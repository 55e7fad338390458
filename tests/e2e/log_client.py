"""A client of a log: curl on a machine or in the lab, whose lines a test reads as they come."""

from __future__ import annotations

import threading
import time
from typing import Optional

from tests.lab.errors import LabError
from tests.lab.machine import Machine

WAIT_S = 120


class Following:
    """A curl that follows a log; `lines` has what it has printed so far, each with the time."""

    def __init__(self, machine: Machine, target: str, *options: str, server: str = "127.0.0.1:2023") -> None:
        url = f"http://{server}{target}"
        self._curl = machine.popen("curl", "-sSN", *options, url)
        self.lines: list[tuple[float, str]] = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._curl.stdout
        for line in self._curl.stdout:
            if line.startswith("curl: "):  # its own error, in the same pipe
                continue
            with self._came:
                self.lines.append((time.time(), line.rstrip("\n")))
                self._came.notify_all()
        with self._came:
            self._came.notify_all()

    @property
    def texts(self) -> list[str]:
        return [line for _, line in self.lines]

    def until(self, text: str, timeout_s: float = WAIT_S) -> str:
        """Wait for a line with this text, and return it."""
        with self._came:
            if not self._came.wait_for(lambda: self._line(text) is not None, timeout_s):
                raise LabError(f"no line with {text!r} but {self.texts}")
        return self._line(text) or ""

    def _line(self, text: str) -> Optional[str]:
        return next((line for line in self.texts if text in line), None)

    def end(self, timeout_s: float = WAIT_S) -> int:
        """Wait for the end; return curl's exit status."""
        status = self._curl.wait(timeout_s)
        self._reader.join(timeout_s)
        return status

    def kill(self) -> None:
        """End it as a client that is gone does."""
        self._curl.kill()
        self._curl.wait(WAIT_S)
