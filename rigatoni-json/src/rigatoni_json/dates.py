"""UTC date-times as ISO 8601 text, for every instant that BSON can hold (64 bits of milliseconds)."""

from datetime import datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC throughout; an aware one would print its offset
_MINUTES_IN_400_YEARS = 146_097 * 24 * 60  # the Gregorian calendar repeats itself after 400 years
_SECONDS = [b":%02d" % second for second in range(60)]
_FRACTIONS = [b"Z", *(b".%03dZ" % fraction for fraction in range(1, 1000))]


@lru_cache(maxsize=8192)
def _minute(minutes: int) -> bytes:
    cycles, rest = divmod(minutes, _MINUTES_IN_400_YEARS)
    moment = _EPOCH + timedelta(minutes=rest)
    year = moment.year + 400 * cycles
    digits = b"%04d" % year if 0 <= year <= 9999 else b"%+07d" % year
    return digits + moment.strftime("-%m-%dT%H:%M").encode()


def iso(milliseconds: int) -> bytes:
    """Milliseconds since the epoch as `2024-05-01T12:00:05.123Z`; the fraction is left out where it is zero.

    Years beyond 0000 to 9999 carry a sign and at least six digits (ISO 8601 expanded years, as ECMAScript prints
    them): `+275760-09-13T00:00:00Z`, `-000001-01-01T00:00:00Z`.
    """
    minutes, rest = divmod(milliseconds, 60_000)
    second, fraction = divmod(rest, 1000)
    return _minute(minutes) + _SECONDS[second] + _FRACTIONS[fraction]
