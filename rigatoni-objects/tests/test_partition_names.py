"""Partitions that readers confuse with a column or with each other are refused; the error suggests a new name."""

import pytest
from rigatoni_objects.file_layout import FileLayout
from rigatoni_testing.serializers import TokenLines


class Table(TokenLines):
    columns = ("operation", "database", "collection", "full_document")
    suffix = ".table"


@pytest.mark.parametrize(
    ("partition_by", "remedy"),
    [
        (("field:operation",), 'folder_template = "document_operation={field:operation}"'),
        (("day", "field:a.Operation"), 'folder_template = "date={date}/document_Operation={field:a.Operation}"'),
        (("field:database",), 'folder_template = "document_database={field:database}"'),
        (("field:FULL_DOCUMENT",), "'full_document'"),
    ],
)
def test_a_partition_with_the_name_of_a_column_is_refused(partition_by, remedy):
    with pytest.raises(ValueError, match=r"column of \.table files") as caught:
        FileLayout(Table(), partition_by).check()
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("partition_by", "template"),
    [
        (("field:country", "field:shop.Country"), ""),
        (("day", "field:date"), ""),
        ((), "{database}/Year={year}/year={field:x}"),
        (("namespace", "field:Collection"), ""),
    ],
)
def test_partitions_that_are_one_column_for_readers_are_refused(partition_by, template):
    with pytest.raises(ValueError, match=r"as one column|name of a column|twice"):
        FileLayout(Table(), partition_by, template).check()


@pytest.mark.parametrize("template", ["operation={field:x}", "database=eu", "database={database}-{collection}"])
def test_folders_of_a_template_are_checked_too(template):
    with pytest.raises(ValueError, match=r"Rename the folder (operation|database)= in folder_template"):
        FileLayout(Table(), folder_template=template).check()


@pytest.mark.parametrize(
    ("partition_by", "template"),
    [
        (("namespace", "hour", "field:country"), ""),
        ((), "operation/{field:operation}/{date}"),
        ((), "database={database}/document_operation={field:operation}"),
        ((), "kind-of={field:operation}"),
        ((), "database={event_database}/collection={event_collection}"),
    ],
)
def test_others_are_not(partition_by, template):
    FileLayout(Table(), partition_by, template).check()


def test_the_suggested_template_is_one_that_is_taken_and_names_the_same_folders():
    with pytest.raises(ValueError, match="Rename") as caught:
        FileLayout(Table(), ("namespace", "field:operation", "hour")).check()
    template = str(caught.value).split('folder_template = "')[1].partition('"')[0]
    FileLayout(Table(), folder_template=template).check()
    assert template == (
        "database={database}/collection={collection}/document_operation={field:operation}/date={date}/hour={hour}"
    )
