"""One node over HTTP: how to reach it, and what it answers."""
