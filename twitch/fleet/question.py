"""A question to the person at the terminal.

Where standard input is the list of nodes, or standard error goes to a file, there may be a person all the
same: the question is then on the controlling terminal (tty(4)), as ssh(1) and sudo(8) ask for a password.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional, TextIO

from twitch.fleet.nodes import Node
from twitch.fleet.who.choice import reads_standard_input

MANY = 20  # nodes; a person is asked about more of them
YES = frozenset({"y", "yes"})

CONTROLLING_TERMINAL = "/dev/tty"


class _Terminal(NamedTuple):
    """Where a question is written, and its answer read."""

    output: TextIO
    input: TextIO


def must_ask(nodes: Sequence[Node], options: Namespace) -> bool:
    """Return whether a person has to agree: more than MANY nodes, no --yes, and a terminal to ask at."""
    return not options.yes and len(nodes) > MANY and can_ask(options)


def can_ask(options: Namespace) -> bool:
    """Return whether a question can be asked, and answered."""
    with _terminal(options) as terminal:
        return terminal is not None


def agreed(question: str, options: Namespace) -> bool:
    """Ask a question on the terminal; return whether the answer is yes. Ctrl-C means no."""
    with _terminal(options) as terminal:
        return terminal is not None and _agreed(question, terminal)


def _agreed(question: str, terminal: _Terminal) -> bool:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print(f"{question} [y/N] ", end="", file=terminal.output, flush=True)
        return terminal.input.readline().strip().lower() in YES
    except KeyboardInterrupt:
        print(file=terminal.output, flush=True)
        return False
    finally:
        signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _terminal(options: Namespace) -> Iterator[Optional[_Terminal]]:
    """Give the terminal at which a person can answer; None if there is none."""
    if not reads_standard_input(options):
        if not sys.stdin.isatty():
            yield None
            return
        if sys.stderr.isatty():
            yield _Terminal(sys.stderr, sys.stdin)
            return
    with contextlib.ExitStack() as until_end:
        try:
            answers = until_end.enter_context(open(CONTROLLING_TERMINAL, encoding="utf-8", errors="replace"))
            questions = until_end.enter_context(open(CONTROLLING_TERMINAL, "w", encoding="utf-8"))
            # The kernel stops a job in the background that reads from its terminal (SIGTTIN).
            foreground = os.tcgetpgrp(answers.fileno()) == os.getpgrp()
        except OSError:  # no controlling terminal, as under cron and CI, or Windows
            foreground = False
        yield _Terminal(questions, answers) if foreground else None
