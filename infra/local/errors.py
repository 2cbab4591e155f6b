"""The errors of the services on this machine."""

from collections.abc import Sequence
from typing import Self

from worker.core.errors import LeveretError


class ServiceError(LeveretError):
    """A private service is missing, did not start or did not stop; the message says what to do."""


class NotInstalled(ServiceError):
    """Programs that this machine lacks."""

    def __init__(self, *programs: str, packages: tuple[str, ...], switches: tuple[str, ...] = ()) -> None:
        """`switches` are what `make setup` needs: `S3=1`."""
        self.programs, self.packages, self.switches = programs, packages, switches
        command = " ".join(("make setup", *switches))
        super().__init__(
            f"{_and(programs)} {'is' if len(programs) == 1 else 'are'} not installed: run `{command}`, "
            f"or install {_and(packages)}"
        )

    @classmethod
    def all_of(cls, errors: Sequence[Self]) -> Self:
        """One error that tells all of `errors`."""
        return cls(
            *(program for error in errors for program in error.programs),
            packages=tuple(package for error in errors for package in error.packages),
            switches=tuple(dict.fromkeys(switch for error in errors for switch in error.switches)),
        )


def _and(names: tuple[str, ...]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
