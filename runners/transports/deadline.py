"""The point in time by which something has to be done, handed down to every wait on the way."""

import time
from dataclasses import dataclass
from typing import Self

from mnet_deploy.errors import CommandTimeout


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time on the monotonic clock.

    Attributes:
        at_s: reading of `time.monotonic()` at which the time is up.
    """

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def remaining_s(self) -> float:
        """Time that is left; 0 when it is up."""
        return max(0.0, self.at_s - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.at_s

    def within(self, seconds: float) -> "Deadline":
        """Return the sooner one of this and `seconds` from now."""
        return min(self, Deadline.after(seconds), key=lambda deadline: deadline.at_s)

    def require(self, what: str) -> None:
        """Raise `CommandTimeout` if the time is up; `what` says what did not end."""
        if self.expired:
            raise CommandTimeout(f"{what} did not end in time and was stopped")
