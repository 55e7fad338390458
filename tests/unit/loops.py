"""An event loop for one scene of a test: whatever the loop swallows or leaves behind is a failure."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Far beyond any scene: this only ends one that hangs, and says that it did.
HANG_S = 60


def run(scene: Coroutine[Any, Any, T]) -> T:
    """Play the scene and return what it returns."""
    return asyncio.run(_watched(scene))


async def _watched(scene: Coroutine[Any, Any, T]) -> T:
    swallowed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: swallowed.append(context))
    result = await asyncio.wait_for(scene, HANG_S)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks are left behind: {left}"
    gc.collect()  # a task whose exception nobody has asked for complains when it is collected
    assert not swallowed, f"the loop swallowed: {swallowed}"
    return result
