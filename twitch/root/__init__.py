"""Runs as root: reads one packet, answers it, and becomes Puppet. No HTTP, TLS or asyncio here."""
