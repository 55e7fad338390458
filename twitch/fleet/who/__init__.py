"""Which nodes a command is about."""
