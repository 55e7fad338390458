"""The whole command, with its cost written down: `python3 -m tests.bench_fleet.command OUT OPTION…`."""

from __future__ import annotations

import sys
import time

from tests.bench_fleet import figures
from twitch.fleet.main import main

if __name__ == "__main__":
    began = time.monotonic()
    status = main(sys.argv[2:])
    figures.of_this_process(began, status).write(sys.argv[1])
