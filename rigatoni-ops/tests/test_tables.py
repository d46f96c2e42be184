"""`rigatoni tables view`: its arguments, and that each dialect's own grammar parses the statement."""

import pytest
import sqlglot
from click.testing import CliRunner
from rigatoni_core.cli.application import Terminal
from rigatoni_ops.current_view import DIALECTS, current_view
from rigatoni_ops.tables import tables


def run(*arguments):
    return CliRunner().invoke(tables, ["view", *arguments], obj=Terminal())


def test_the_choices_are_the_dialects():
    (choice,) = [option.type.choices for option in tables.commands["view"].params if option.name == "dialect"]
    assert set(choice) == set(DIALECTS)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["orders", "it's \\ a collection"])
def test_each_dialect_parses_its_statement(dialect, name):
    statement = current_view("shop", name, name="v", relation="lake.events", dialect=dialect, since=(1, 2))
    (parsed,) = sqlglot.parse(statement, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    assert parsed.key == "create"
    assert {literal.this for literal in parsed.find_all(sqlglot.exp.Literal)} >= {"shop", name, "dropDatabase"}


def test_it_prints_the_statement():
    answer = run("shop.order.lines", "--over", "lake.events", "--dialect", "trino", "--since", "1796040037,27")
    assert answer.exit_code == 0
    assert answer.output.startswith("CREATE OR REPLACE VIEW order_lines AS\n")
    assert "from_unixtime(1796040037)" in answer.output
    assert "collection = 'order.lines'" in answer.output
    assert "VIEW newest AS" in run("shop.orders", "--over", "t", "--name", "newest").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shop", "--over", "t"], "name one collection"),
        (["shop.*", "--over", "t"], "name one collection"),
        (["shop.orders"], "--over"),
        (["shop.orders", "--over", " "], "--over takes a table"),
        (["shop.orders", "--over", "t", "--json-lines", "--dialect", "spark"], "--json-lines is for DuckDB"),
        (["shop.orders", "--over", "t", "--since", "yesterday"], "--since takes SECONDS,INCREMENT"),
        (["shop.orders", "--over", "t", "--since", "5"], "--since takes SECONDS,INCREMENT"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    answer = run(*arguments)
    assert answer.exit_code == 2
    assert message in answer.output
