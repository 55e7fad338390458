"""Packages of the distribution, which the few processes that need one add to their path.

The unit of a run starts Python without `site` (-S), which takes 3 ms and adds their directories.
"""

from __future__ import annotations

import sys


def add() -> None:
    """Make the packages of the distribution importable, as a start without -S does."""
    if sys.flags.no_site and "site" not in sys.modules:
        import site

        site.main()
