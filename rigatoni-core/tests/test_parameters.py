"""Options of commands that are durations."""

import click
import pytest
from click.testing import CliRunner
from rigatoni_core.api.parameters import Duration


@click.command()
@click.option("--wait", type=Duration(min=0.1), default="30 s", show_default=True, help="How long.")
def command(wait: float) -> None:
    click.echo(repr(wait))


@pytest.mark.parametrize(
    ("given", "seconds"), [((), 30.0), (("--wait", "2min"), 120.0), (("--wait", "1.5 h"), 5400.0), (("--wait", "7"), 7)]
)
def test_a_duration_is_passed_in_seconds(given, seconds):
    answer = CliRunner().invoke(command, given)
    assert answer.exit_code == 0
    assert float(answer.output) == seconds


@pytest.mark.parametrize(
    ("given", "fault"), [("soon", "the units are ms, s, min, h, d"), ("50 ms", "not in the range x>=0.1")]
)
def test_another_text_or_one_out_of_range_is_refused(given, fault):
    answer = CliRunner().invoke(command, ["--wait", given])
    assert answer.exit_code == 2
    assert fault in " ".join(answer.output.split())


def test_help_shows_the_default_with_its_unit():
    assert "[default: 30 s" in CliRunner().invoke(command, ["--help"]).output
