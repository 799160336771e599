"""The one exception type that users meet: what is wrong, and what to do about it."""

from __future__ import annotations


class HarnessError(Exception):
    """An error in the user's input or environment, worded for the user.

    The message names the file, id or flag at fault; ``hint`` says what to do. The command line prints
    both on one line and exits with ``exit_code``; a traceback would only bury them.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[type[HarnessError], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class UnknownNameError(HarnessError):
    """A method, dataset, metric, variant or preset that is not registered."""


class PluginError(HarnessError):
    """A registered method, dataset or metric cannot be loaded, or breaks its contract."""

    exit_code = 1


class CorruptFileError(HarnessError):
    """A file in the store or the cache that is not what was written there."""


class DamagedStateError(CorruptFileError):
    """What an interrupted training left is damaged; it can begin anew."""


class UnavailableError(HarnessError):
    """Something optional is absent: a package, weights, a Java runtime."""

    @classmethod
    def of(cls, reason: str) -> UnavailableError:
        """The error of a line ``what is absent: what to do``, as ``unavailable()`` gives it."""
        what, _, advice = reason.partition(": ")
        return cls(what, advice)


def require(reason: str | None) -> None:
    """Raise ``UnavailableError`` where ``unavailable()`` gave a reason."""
    if reason is not None:
        raise UnavailableError.of(reason)


class InvalidValuesError(HarnessError, ValueError):
    """Numbers that are not what a function expects: logits or percent for probabilities, labels of -1."""


class DiskError(HarnessError):
    """Nothing can be written: the whole run stops, since no cell could keep its result."""
