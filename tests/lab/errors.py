"""The lab's one exception."""


class LabError(Exception):
    """Something in the lab did not do what it should; the message shows what was seen."""
