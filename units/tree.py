"""/usr/lib/puppet-twitch/__main__.py: what `python3 -I /usr/lib/puppet-twitch` runs.

A tree of its own, because another package called twitch exists and this one must never be it.
"""

import sys

from twitch.__main__ import main

sys.exit(main())
