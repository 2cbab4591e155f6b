"""Faults that a model finds between its fields, told at the very field that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Iterable


def faults(title: str, found: Iterable[tuple[tuple[str | int, ...], str]]) -> ValidationError:
    """Return the error that a validator of the model `title` raises: each fault with where it is, and what.

    A plain ValueError would be told of the whole model.
    """
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(
                type=PydanticCustomError("fault", "{message}", {"message": message}), loc=place, input=None
            )
            for place, message in found
        ],
    )
