"""The commands of a person at the node, one file each. They need root and the run socket, but no port."""
