"""/usr/lib/puppet-twitch/__main__.py: what `python3 -I /usr/lib/puppet-twitch` runs.

The tree is not in Python's usual paths, because there is another package called twitch.
"""

import sys

from twitch.__main__ import main

sys.exit(main())
