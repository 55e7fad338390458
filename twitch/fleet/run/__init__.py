"""The command `run`: Puppet on many nodes, not faster than they, and the puppetservers, can take."""
