"""The lab's one exception."""


class LabError(Exception):
    """An operation of the lab failed; the message has the details."""
