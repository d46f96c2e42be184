"""Paths of fields: what they mean, and where an error is."""

import pytest
from rigatoni_transforms.errors import PathError
from rigatoni_transforms.paths import ANY, Path, parsed


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("email", ("email",)),
        ("address.street", ("address", "street")),
        ("contacts.*.phone", ("contacts", ANY, "phone")),
        ("lines.0", ("lines", "0")),
        ("*", (ANY,)),
        ('"*"', ("*",)),
        ('"first.name".given', ("first.name", "given")),
        (r'a."say \"b\\\""', ("a", 'say "b\\"')),
        ('""', ("",)),
        ("$x.é", ("$x", "é")),
        ('"fullDocument".x', ("fullDocument", "x")),
    ],
)
def test_a_path_has_these_steps(text, steps):
    assert Path.parse(text).steps == steps


@pytest.mark.parametrize(
    ("text", "place"),
    [
        *(("", 1), (".a", 1), ("a.", 3), ("a..b", 3), ("a.b*", 4), ('a"b', 2), ('"a', 1), ('"a"b', 4)),
        *((r'"a\n"', 4), ("a\0", 2), ("a. b", 3), ('"a\0"', 3)),
    ],
)
def test_an_error_says_at_which_character(text, place):
    with pytest.raises(PathError, match=rf"cannot be parsed at character {place}: "):
        Path.parse(text)


@pytest.mark.parametrize("text", ["fullDocument.email", "updateDescription.updatedFields.email"])
def test_a_path_of_the_event_names_the_path_in_the_document(text):
    with pytest.raises(PathError, match="can never match") as caught:
        Path.parse(text)
    assert caught.value.remedy.startswith('Write "email".')


@pytest.mark.parametrize(
    "texts", [["address", "address.street"], ["a.*", "a.b.c"], ["*", "a.b"], ["a.b.c", "a.b"], ["x", "x"]]
)
def test_a_path_inside_another_can_never_match(texts):
    with pytest.raises(PathError, match=r"can never match|given twice"):
        parsed(texts)


def test_paths_next_to_each_other_are_fine():
    assert len(parsed(["a.b", "a.c", "a.*.d", "ab", "b.a"])) == 5


def test_a_path_deeper_than_documents_is_refused():
    with pytest.raises(PathError, match="101 steps"):
        Path.parse(".".join(["a"] * 101))
