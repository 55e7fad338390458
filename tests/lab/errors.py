"""The lab's exceptions."""


class LabError(Exception):
    """An operation of the lab failed; the message has the details."""


class NotBuiltError(LabError):
    """An image of a suite that changes from day to day could not be built; the message says why."""
