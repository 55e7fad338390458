"""The test lab: throwaway Debian machines with a real systemd, real Puppet and a network of their own.

`build` makes the images (needs the network and root), `enter COMMAND` runs a command in namespaces
that leave nothing behind, and in them `Lab` boots the machines.
"""
