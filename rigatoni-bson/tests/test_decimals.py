"""Decimals are the same with every release of PyMongo, also those whose encoding is not canonical."""

from decimal import Decimal, Inexact

import pytest
from bson.decimal128 import Decimal128
from rigatoni_bson.decimals import number_of, text_of

TOO_LONG = (0x3041 << 48 | 0x1FFFFFFFFFFFF) << 64 | 0xFFFFFFFFFFFFFFFF
"""The largest significand: 2**113 - 1, of 35 digits; the exponent is 0."""


def decimal_of(number):
    return Decimal128.from_bid(number.to_bytes(16, "little"))


@pytest.fixture
def old_pymongo(monkeypatch):
    """PyMongo before 4.20 lets `decimal` raise for a significand that is too long."""
    real = Decimal128.to_decimal

    def to_decimal(self):
        if self.bid == decimal_of(TOO_LONG).bid:
            raise Inexact
        return real(self)

    monkeypatch.setattr(Decimal128, "to_decimal", to_decimal)


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("exponent", [-6176, -3, 0, 6111])
def test_a_significand_of_more_than_34_digits_is_zero(sign, exponent):
    number = sign << 127 | (exponent + 6176) << 113 | 0x1FFFFFFFFFFFF << 64
    expected = Decimal((sign, (0,), exponent))
    assert number_of(decimal_of(number)).compare_total(expected) == 0
    assert text_of(decimal_of(number)) == str(expected)


def test_an_old_pymongo_changes_nothing(old_pymongo):
    with pytest.raises(Inexact):
        str(decimal_of(TOO_LONG))
    assert number_of(decimal_of(TOO_LONG)).compare_total(Decimal("0E+1")) in (0, 1, -1)
    assert text_of(decimal_of(TOO_LONG)) == str(number_of(decimal_of(TOO_LONG)))


@pytest.mark.parametrize("text", ["0", "-0", "1.10", "NaN", "Infinity", "1E-6176", "9.999E+6144"])
def test_other_decimals_are_what_pymongo_says(text):
    assert text_of(Decimal128(text)) == str(Decimal128(text))
