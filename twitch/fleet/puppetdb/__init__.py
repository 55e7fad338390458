"""PuppetDB: which nodes there are, what became of their runs, and what the runs have changed."""
