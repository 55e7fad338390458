"""Runs as user twitch: parses what clients send, and can only ask root."""
