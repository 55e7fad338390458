# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""A Bolt task: a JSON object on standard input, and one on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Callable, Optional


class TaskError(Exception):
    """Ends a task with an `_error`; `kind` is without `twitch/`, `details` are the values of the result."""

    def __init__(self, kind: str, text: str, details: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.details = dict(details or {})


def main(task: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Run a task with the parameters on standard input; print its result, and return the exit status."""
    try:
        parameters = json.load(sys.stdin)
        if not isinstance(parameters, dict):
            raise ValueError("it is not an object")
        result = task(parameters)
    except TaskError as error:
        kind = f"twitch/{error.kind.replace(' ', '-')}"
        failure = {"kind": kind, "msg": str(error), "details": error.details}
        print(json.dumps({**error.details, "_error": failure}))
        return 1
    except ValueError as error:
        text = f"The parameters on standard input are not JSON: {error}"
        print(json.dumps({"_error": {"kind": "twitch/invalid", "msg": text, "details": {}}}))
        return 1
    print(json.dumps(result))
    return 0
