"""Values of a JSON object, each with its type checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional, TypeVar

Value = TypeVar("Value")


class FieldError(ValueError):
    """A field is missing or has another type; the text names it."""


class Fields:
    """The fields of one JSON object. Each method returns one of them, and raises `FieldError`.

    A missing field is like one that is null: versions before this one may not have known it.
    """

    def __init__(self, value: object, name: str = "") -> None:
        if not isinstance(value, dict):
            raise FieldError(f"{name!r} is not an object" if name else "not a JSON object")
        self._values: Mapping[object, object] = value

    def text(self, name: str) -> str:
        """Return a text that has to be there."""
        return _required(name, self.optional_text(name))

    def optional_text(self, name: str) -> Optional[str]:
        """Return a text, or None."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise FieldError(f"{name!r} is not a text")
        return value

    def number(self, name: str) -> float:
        """Return a number that has to be there."""
        return _required(name, self.optional_number(name))

    def optional_number(self, name: str) -> Optional[float]:
        """Return a number, or None. NaN and infinities, which Python's JSON takes, are no numbers."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15:
            raise FieldError(f"{name!r} is not a number")
        return value

    def integer(self, name: str) -> int:
        """Return a whole number that has to be there."""
        return _required(name, self.optional_integer(name))

    def optional_integer(self, name: str) -> Optional[int]:
        """Return a whole number, or None."""
        value = self.optional_number(name)
        if value is not None and not isinstance(value, int):
            raise FieldError(f"{name!r} is not a whole number")
        return value

    def optional_flag(self, name: str) -> Optional[bool]:
        """Return true or false, or None."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise FieldError(f"{name!r} is not true or false")
        return value

    def optional_texts(self, name: str) -> Optional[tuple[str, ...]]:
        """Return a list of texts, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise FieldError(f"{name!r} is not a list of texts")
        return tuple(value)

    def optional_objects(self, name: str) -> Optional[tuple[Fields, ...]]:
        """Return a list of objects, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise FieldError(f"{name!r} is not a list")
        return tuple(Fields(item, name) for item in value)

    def counts(self, name: str) -> Optional[dict[str, int]]:
        """Return an object whose values are whole numbers, or None."""
        if self._values.get(name) is None:
            return None
        counts = Fields(self._values[name], name)
        return {str(key): counts.integer(str(key)) for key in counts._values}

    def numbers(self, name: str) -> Optional[dict[str, float]]:
        """Return an object whose values are numbers, or None."""
        if self._values.get(name) is None:
            return None
        numbers = Fields(self._values[name], name)
        return {str(key): numbers.number(str(key)) for key in numbers._values}

    def settings(self, name: str) -> dict[str, str]:
        """Return an object whose values are texts; an empty one if there is none."""
        if self._values.get(name) is None:
            return {}
        settings = Fields(self._values[name], name)
        return {str(key): settings.text(str(key)) for key in settings._values}

    def fields(self, name: str) -> Optional[Fields]:
        """Return an object, or None."""
        return None if self._values.get(name) is None else Fields(self._values[name], name)


def _required(name: str, value: Optional[Value]) -> Value:
    if value is None:
        raise FieldError(f"{name!r} is missing")
    return value
