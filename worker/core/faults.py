"""Faults that a model finds between its fields, reported at the very field that is wrong."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationInfo

Fault: TypeAlias = tuple[tuple[str | int, ...], str]
"""The place of a fault, as names of fields and indexes, and what is wrong there."""
MAX_FAULTS: Final = 100
"""The number of faults of one model that are kept: a message shows no more, and each costs time."""

FIELDS_ALONE: Final = {"fields_alone": True}
"""A validation's context in which only the fields by themselves are judged, so that the files they name can be."""


def faults(title: str, found: Iterable[Fault]) -> ValidationError:
    """Return the error that a validator of the model `title` raises: each fault with where it is, and what.

    A plain ValueError would name the whole model.
    """
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(
                type=PydanticCustomError("fault", "{message}", {"message": message}), loc=place, input=None
            )
            for place, message in islice(found, MAX_FAULTS)
        ],
    )


def fields_alone(info: ValidationInfo) -> bool:
    """Return whether a validation passes over faults between fields."""
    return bool((info.context or {}).get("fields_alone"))
