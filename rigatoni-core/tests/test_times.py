"""The one rule for every time that people write."""

from datetime import UTC, datetime, timedelta

import pytest
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import Timestamp
from rigatoni_core.api.times import parse_cluster_time, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000),
        ("2023-11-14T22:13:20.999", 1_700_000_000),
        ("2023-11-14", 1_699_920_000),
        ("1970-01-01T00:00:01Z", 1),
    ],
)
def test_a_past_time_is_the_beginning_of_its_second(text, seconds):
    assert parse_cluster_time(text) == Timestamp(seconds, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a time"),
        ("yesterday", "is not a time"),
        ("2026-13-01", "is not a time"),
        ("1700000000", "is not a time"),
        ("1970-01-01T00:00:00Z", "out of range"),
        ("0001-01-01", "out of range"),
        ("0001-01-01T00:00:00+14:00", "out of range"),
        ("2106-02-07T06:28:16Z", "out of range"),
        ("2200-01-01T00:00:00Z", "out of range"),
        ("9999-12-31T23:59:59.999999-14:00", "out of range"),
        pytest.param((datetime.now(UTC) + timedelta(hours=1)).isoformat(), "in the future", id="in an hour"),
        ("2105-01-01", "in the future"),
    ],
)
def test_any_other_time_is_one_clear_error(text, words):
    with pytest.raises(ValueError, match=words) as caught:
        parse_cluster_time(text)
    assert f'"{text}"' in str(caught.value)
    with pytest.raises(ConfigurationError, match=words) as caught:
        parse_time("--at", text)
    assert str(caught.value).startswith(f'--at "{text}" ')
    assert caught.value.remedy.startswith("Give")
