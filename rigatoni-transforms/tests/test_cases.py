"""`rigatoni test`: cases through transforms and serializer, and what it says about wrong ones."""

import textwrap

import pytest
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_core.api.commands import ExitCode
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.builtin.stdout import StdoutDestination
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.batches import TEXT, using
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.scripted import Log, ScriptedSource
from rigatoni_transforms.cast import CastTransform
from rigatoni_transforms.command import test as command
from rigatoni_transforms.errors import CaseError
from rigatoni_transforms.filter import FilterTransform
from rigatoni_transforms.rename import RenameTransform
from rigatoni_transforms.unwrap import UnwrapTransform

TRANSFORMS = (
    FilterTransform(expression='document.?status.orValue("paid") == "paid"'),
    RenameTransform(fields={"total": "amount"}),
    CastTransform(fields={"amount": "decimal"}, streams=["shop.orders"]),
)


@pytest.fixture
def run(tmp_path):
    def run(cases, *arguments, transforms=TRANSFORMS, serializer=None, streams=("shop.orders", "shop.*")):
        (tmp_path / "pipeline.test.toml").write_text(textwrap.dedent(cases), encoding="utf-8")
        app = RecordingApplication(
            PipelineConfiguration(
                name="p",
                source=ScriptedSource(logs={name: Log() for name in streams}, start=0),
                destination=StdoutDestination(serializer=serializer or JsonSerializer()),
                state=MemoryStateStore(),
                transforms=transforms,
            )
        )
        return app, app.call(command, str(tmp_path / "pipeline.toml"), *arguments)

    return run


PASSING = """
    [[case]]
    name = "a paid order"
    document = { _id = 1, status = "paid", total = "1.10" }
    expect.operation = "insert"
    expect.namespace = "shop.orders"
    expect.document = { _id = 1, status = "paid", amount = { "$numberDecimal" = "1.10" } }

    [[case]]
    name = "an open order is left out"
    document = { _id = 1, status = "open" }
    expect = "dropped"

    [[case]]
    name = "a wrong amount is rejected"
    document = { _id = 1, total = "much" }
    expect = { rejected = 'the field "amount" cannot be cast' }

    [[case]]
    name = "several events"

    [[case.events]]
    operation = "update"
    document = { _id = { "$oid" = "5f5e100000000000000000ff" }, at = 2026-01-02T03:04:05Z }
    update = { updatedFields = { total = "2" } }
    [case.events.expect.update]
    updatedFields = { amount = { "$numberDecimal" = "2" } }
    removedFields = []
    truncatedArrays = []

    [[case.events]]
    operation = "delete"
    key = { _id = 1 }
    expect = "unchanged"

    [[case]]
    name = "another stream"
    stream = "shop.*"
    namespace = "shop.users"
    document = { _id = 1, total = "5" }
    expect = { namespace = "shop.users", document = { _id = 1, amount = "5" }, key = { _id = 1 } }
"""


def test_cases_that_are_as_expected_pass(run):
    app, code = run(PASSING)
    assert code == ExitCode.DONE, app.output
    assert app.output[-1] == "5 passed, 0 failed"
    assert app.output[0] == "passed  a paid order"


def test_a_failure_shows_the_lines_that_differ(run):
    app, code = run(
        """
        [[case]]
        name = "wrong"
        document = { _id = 1, total = "1" }
        expect = { document = { _id = 1, amount = 1 } }
        """
    )
    assert code == ExitCode.WORKER_FAILED
    assert app.output[0] == "FAILED  wrong"
    said = "\n".join(app.output)
    assert '-    "amount": 1' in said
    assert '+      "$numberDecimal": "1"' in said
    assert app.output[-1] == "0 passed, 1 failed"


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ('expect = "dropped"', "expected to be dropped, but it was delivered"),
        ('expect = "unchanged"', '+    "amount"'),
        ('expect = { rejected = "" }', "expected to be rejected, but it was delivered"),
        ("expect = { key = { _id = 2 } }", '-    "_id": 2'),
        ('expect = { operation = "delete" }', '-  "operation": "delete"'),
        ("expect = { before = { } }", '+  "before": null'),
    ],
)
def test_each_expectation_can_fail(run, expect, said):
    app, code = run(f'[[case]]\nname = "n"\ndocument = {{ _id = 1, total = 1 }}\n{expect}\n')
    assert code == ExitCode.WORKER_FAILED
    assert any(said in line for line in app.output), app.output


def test_dropped_and_rejected_events_are_not_what_others_expect(run):
    app, code = run(
        """
        [[case]]
        name = "n"
        [[case.events]]
        document = { _id = 1, status = "open" }
        expect = "unchanged"
        [[case.events]]
        document = { _id = 1, total = "x" }
        expect = "dropped"
        [[case.events]]
        document = { _id = 1, total = "x" }
        expect = { rejected = "out of range" }
        """,
        "--json",
    )
    assert code == ExitCode.WORKER_FAILED
    ((result,),) = app.values
    first, second, third = result.pop("failures")
    assert first == "event 1: dropped\n"
    assert second.startswith('event 2: rejected: the field "amount" cannot be cast')
    assert third.startswith('event 3: rejected for another reason than "out of range"')
    assert result["name"] == "n"
    assert not result["passed"]


@pytest.mark.parametrize(
    ("to", "expected", "passes"),
    [
        ("long", "1", True),
        ("long", '{ "$numberLong" = "1" }', True),
        ("int", '{ "$numberLong" = "1" }', False),
        ("long", "1.0", False),
        ("double", "1.0", True),
        ("double", "1", False),
        ("string", '"1"', True),
        ("bool", "1", False),
    ],
)
def test_types_that_look_alike_are_told_apart(run, to, expected, passes):
    case = f'[[case]]\nname = "n"\ndocument = {{ n = 1 }}\nexpect.document = {{ n = {expected} }}\n'
    app, code = run(case, transforms=(CastTransform(fields={"n": to}),))
    assert code == (ExitCode.DONE if passes else ExitCode.WORKER_FAILED), app.output
    if to == "int":  # only the types differ, so they are shown
        assert any("$numberInt" in line for line in app.output)


@pytest.mark.parametrize("serializer", [JsonSerializer(), GzipSerializer(inner=JsonSerializer())])
def test_the_output_of_the_serializer_and_rows_can_be_expected(run, serializer):
    case = """
        [[case]]
        name = "n"
        document = { _id = 1, n = 1 }
        expect = { row = { _id = 1, n = 1, __operation = "insert" } }
        output = '''
        {"_id":1,"n":1,"__operation":"insert"}
        '''
        """
    unwrap = (UnwrapTransform(add=["operation"]),)
    app, code = run(case, transforms=unwrap, serializer=serializer)
    assert code == ExitCode.DONE, app.output
    app, code = run(case.replace('"n":1', '"n":2'), transforms=unwrap, serializer=serializer)
    assert code == ExitCode.WORKER_FAILED
    assert '-{"_id":1,"n":2' in "\n".join(app.output)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"the cases are in \[\[case\]\]"),
        ("x = 1", "unknown key x"),
        ("case = 1", r"the cases are in \[\[case\]\]"),
        ("[[case]]", "case 1 has no name"),
        ("[[case]]\nname = 'n'", "expects nothing"),
        ("[[case]]\nname = 'n'\nexpect = 'gone'", "expect is 'dropped', 'unchanged' or a table"),
        ("[[case]]\nname = 'n'\nexpect = { doc = 1 }", "unknown key doc; known are before"),
        ("[[case]]\nname = 'n'\ndocumnt = {}\nexpect = 'dropped'", "unknown key documnt"),
        ("[[case]]\nname = 'n'\nexpect = 'dropped'\nevents = []", "belongs to one of the events"),
        ("[[case]]\nname = 'n'\nevents = 1", "events are tables"),
        ("[[case]]\nname = 'n'\ndocument = { d = 2026-01-02 }\nexpect = 'dropped'", "a date needs a time"),
        ("[[case]]\nname = 'n'\ndocument = { d = { '$oid' = 'x' } }\nexpect = 'dropped'", "is not Extended JSON"),
        ("[[case]]\nname = 'n'\nstream = 'a.b'\nexpect = 'dropped'", "the pipeline has no stream a.b, only shop"),
        ("[[case]]\nname = 'n'\nstream = 'shop.*'\nexpect = 'dropped'", "has several collections"),
        ("[[case]]\nname = 'n'\nstream = 1\nexpect = 'dropped'", "stream must be text"),
        ("[[case]]\nname = 'n'\ndocument = { n = 99999999999999999999 }\nexpect = 'dropped'", "is no BSON"),
        ("[[case", "is not TOML"),
    ],
)
def test_a_wrong_file_is_an_error_that_says_where(run, content, message):
    with pytest.raises(CaseError, match=message) as caught:
        run(content)
    assert caught.value.remedy


def test_a_missing_file_is_an_error(run, tmp_path):
    with pytest.raises(CaseError, match="cannot be read"):
        run(PASSING, str(tmp_path / "nowhere.toml"))


def test_a_source_of_another_format_is_an_error(run):
    with using(TEXT), pytest.raises(CaseError, match="another format"):
        run(PASSING)
