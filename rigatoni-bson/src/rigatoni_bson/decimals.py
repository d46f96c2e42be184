"""Decimal128 as numbers and texts, the same with every supported release of PyMongo."""

from decimal import Decimal, Inexact

from bson.decimal128 import Decimal128


def number_of(value: Decimal128) -> Decimal:
    """Return a decimal128 as a decimal of Python.

    A significand of more than 34 digits means zero (IEEE 754-2008, section 3.5.2). PyMongo before 4.20 raises for it.
    """
    try:
        return value.to_decimal()
    except Inexact:
        high = int.from_bytes(value.bid[8:], "little")
        return Decimal((high >> 63, (0,), (high >> 49 & 0x3FFF) - 6176))


def text_of(value: Decimal128) -> str:
    """Return a decimal128 as text, in the form of the specification of Extended JSON."""
    try:
        return str(value)
    except Inexact:
        return str(number_of(value))
