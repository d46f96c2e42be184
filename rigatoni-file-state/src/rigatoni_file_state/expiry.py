"""Times at which a record of this host expires."""

import time
from typing import Any, Self

import attrs

from rigatoni_file_state.host import boot_id


@attrs.frozen
class Expiry:
    """A moment on the monotonic clock of one boot of a host."""

    boot: str
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the moment that is this many seconds from now."""
        return cls(boot_id(), time.monotonic() + seconds)

    @property
    def is_of_this_boot(self) -> bool:
        """Whether the moment can be compared with this host's clock."""
        return self.boot == boot_id()

    @property
    def remaining(self) -> float:
        """The seconds until the moment; only of this boot."""
        return self.seconds - time.monotonic()

    @property
    def has_passed(self) -> bool:
        """Whether the moment is known to have passed. That of another boot is not comparable."""
        return self.is_of_this_boot and self.remaining <= 0

    def record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"boot": self.boot, "monotonic": self.seconds}

    @classmethod
    def read(cls, record: Any) -> Self:
        """Read what `record` returned. Raises KeyError, TypeError or ValueError."""
        return cls(str(record["boot"]), float(record["monotonic"]))
