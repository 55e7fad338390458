"""/usr/lib/puppet-twitch-fleet/__main__.py: what `python3 -I /usr/lib/puppet-twitch-fleet` runs.

The tree is not in Python's usual paths, because there is another package called twitch.
"""

import sys

from twitch.fleet.main import main

sys.exit(main())
