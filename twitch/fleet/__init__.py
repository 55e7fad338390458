"""The operator's side: one command for many nodes. It needs no part of the node's side, and no systemd."""
