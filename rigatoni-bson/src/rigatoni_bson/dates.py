"""UTC date-times as ISO 8601 text, for every instant that BSON can hold (64 bits of milliseconds)."""

from datetime import date, timedelta
from functools import lru_cache

_EPOCH = date(1970, 1, 1)
_DAYS_IN_400_YEARS = 146_097  # the Gregorian calendar repeats itself after 400 years
_MINUTES = [b"T%02d:%02d" % divmod(minute, 60) for minute in range(24 * 60)]
_SECONDS = [b":%02d" % second for second in range(60)]
_FRACTIONS = [b"Z", *(b".%03dZ" % fraction for fraction in range(1, 1000))]


@lru_cache(maxsize=8192)
def _day(days: int) -> bytes:
    cycles, rest = divmod(days, _DAYS_IN_400_YEARS)
    day = _EPOCH + timedelta(days=rest)
    year = day.year + 400 * cycles
    return (b"%04d" if 0 <= year <= 9999 else b"%+07d") % year + b"-%02d-%02d" % (day.month, day.day)


def iso(milliseconds: int) -> bytes:
    """Return milliseconds since the epoch as `2024-05-01T12:00:05.123Z`, without a fraction of zero.

    Years beyond 0000 to 9999 carry a sign and at least six digits (ISO 8601 expanded years, as ECMAScript prints
    them): `+275760-09-13T00:00:00Z`, `-000001-01-01T00:00:00Z`.
    """
    days, rest = divmod(milliseconds, 86_400_000)
    minute, rest = divmod(rest, 60_000)
    second, fraction = divmod(rest, 1000)
    return _day(days) + _MINUTES[minute] + _SECONDS[second] + _FRACTIONS[fraction]
