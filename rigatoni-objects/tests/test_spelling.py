"""Values as folder names: readers decode them, and stores that fold case keep them distinct."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rigatoni_objects.file_layout import FileLayout
from rigatoni_objects.spelling import HIVE_NULL, Spelling
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.serializers import TokenLines

HIVE, FOLDING, PERCENT = Spelling(), Spelling(folds_case=True), Spelling("percent")
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


def as_hive_reads(name):
    """Decode as Hive's `FileUtils.unescapePathName`, which Spark and Trino use too: each escape is one character."""
    found, place = "", 0
    while place < len(name):
        digits = name[place + 1 : place + 3]
        if name[place] == "%" and len(digits) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            found, place = found + chr(int(digits, 16)), place + 3
        else:
            found, place = found + name[place], place + 1
    return found


@given(TEXTS)
@example("München / 100% = :*?")
@example("東京")
@example("a~0123abcd")
@example(HIVE_NULL)
def test_readers_get_a_value_back_as_it_was(value):
    assert as_hive_reads(HIVE.value(value)) == value


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("München", "München"),
        ("a b.c,d~e@f+g", "a b.c,d~e@f+g"),
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        ("2024-05-01T12:00:05.120Z", "2024-05-01T12%3A00%3A05.120Z"),
        ("a{b}[c]^", "a%7Bb}%5Bc%5D%5E"),
        ("\0\n\x7f", "%00%0A%7F"),
        ("", HIVE_NULL),
        (None, HIVE_NULL),
    ],
)
def test_only_what_hive_escapes_is_escaped(value, name):
    assert HIVE.value(value) == name


@pytest.mark.parametrize("character", ["x", "ü", "東", "😀", "/"])
def test_long_values_are_cut_by_bytes_between_characters(character):
    names = [HIVE.value(character * length) for length in range(1, 200)]
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= 120 for name in names)
    assert all(as_hive_reads(name).partition("~")[0].strip(character) == "" for name in names)


def as_some_stores_see(name):
    """Map names to the same text that a folding and normalizing store, such as macOS or ext4, treats as one."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


@given(TEXTS, TEXTS)
@example("DE", "de")
@example("Café", "CAFÉ")
@example(unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é"))
@example("straße", "strasse")
@example("K", "K")
@example("%4a", "J")
def test_values_have_different_names_where_a_store_folds_case(one, other):
    names = [as_some_stores_see(FOLDING.value(value)) for value in (one, other)]
    assert (names[0] == names[1]) == (one == other)


@given(TEXTS)
def test_twins_of_a_value_have_different_names_where_a_store_folds_case(value):
    twins = {value, value.lower(), value.upper(), value.swapcase(), value.casefold()}
    twins |= {unicodedata.normalize(form, twin) for twin in twins for form in ("NFC", "NFD")}
    assert len({as_some_stores_see(FOLDING.value(twin)) for twin in twins}) == len(twins)


def test_ascii_is_read_back_where_a_store_folds_case():
    assert FOLDING.value("De_1") == "%44e_1"
    assert as_hive_reads(FOLDING.value("De_1")) == "De_1"
    assert FOLDING.value("東京") == "東京"
    assert FOLDING.value("München").startswith("%4Dünchen~")


def folders(layout, *countries):
    batch = batch_of([event_document(n, fullDocument={"country": country}) for n, country in enumerate(countries)])
    return [part.path.partition("/")[0] for part in layout.parts(batch)]


def test_the_spelling_is_part_of_the_layout_where_folders_hold_values():
    assert FileLayout(TokenLines(), ("field:country",)).described()["spelling"] == "hive"
    assert FileLayout(TokenLines(), ("namespace",), folds_case=True).described()["folds_case"] is True
    for plain in (FileLayout(TokenLines()), FileLayout(TokenLines(), ("day",), folds_case=True)):
        assert not plain.described().keys() & {"spelling", "folds_case"}


def test_a_layout_that_was_recorded_without_a_spelling_keeps_that_of_the_first_version():
    layout = FileLayout(TokenLines(), ("field:country",))
    old = {key: value for key, value in layout.described().items() if key != "spelling"}
    assert layout.matches(old)
    continued = layout.as_recorded(old)
    assert continued.described() == old
    assert folders(continued, "München") == ["country=M%C3%BCnchen"]
    assert folders(continued, b"\1") == ["country=b%27%5Cx01%27"]
    assert folders(layout.as_recorded(layout.described()), "München") == ["country=München"]


def test_another_spelling_or_a_store_that_folds_case_is_another_layout():
    layout = FileLayout(TokenLines(), ("field:country",))
    assert not layout.matches(layout.described() | {"spelling": "of tomorrow"})
    folding = FileLayout(TokenLines(), ("field:country",), folds_case=True)
    assert not folding.matches(layout.described())
    assert not layout.matches(folding.described())
    assert not folding.matches({key: value for key, value in layout.described().items() if key != "spelling"})
    assert folding.matches(folding.described())
    assert folders(folding, "DE", "de") == ["country=%44%45", "country=de"]
