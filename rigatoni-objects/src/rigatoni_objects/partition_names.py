"""Names of partitions that readers mistake: for a column of the files, or for each other.

Readers let the folder win: a file below `operation=buy/` reads as if each of its events had the operation `buy`. SQL
readers do not tell names apart that differ only by case.
"""

from collections.abc import Sequence

from rigatoni_objects.path_template import PARTITIONS, PathTemplate

_SAME_VALUES = {("database", "database"), ("collection", "collection")}
"""Partitions whose folder says of each event what its column of that name says."""


def check_names(template: PathTemplate, partition_by: Sequence[str], columns: Sequence[str], suffix: str) -> None:
    """Refuse partitions that readers mistake.

    Args:
        template: The folders.
        partition_by: The option that they were made from; empty where it was a template.
        columns: What the files' columns, or the fields of their documents, are called.
        suffix: The file name's end; for messages.

    Raises:
        ValueError: A partition has the name of a column, or of another partition; with the remedy in words.
    """
    taken: dict[str, str] = {column.casefold(): column for column in columns}
    seen = dict[str, str]()
    for name, part in template.partitions:
        folded = name.casefold()
        if folded in taken and (name, part) not in _SAME_VALUES:
            raise ValueError(
                f"the partition {name!r} has the name of a column of {suffix} files ({taken[folded]!r}), and readers "
                f"take the folder's value for the column's. {_renaming(partition_by, name)}"
            )
        if folded in seen:
            raise ValueError(
                f"the partitions {seen[folded]!r} and {name!r} are one column for readers. "
                f"{_renaming(partition_by, name)}"
            )
        seen[folded] = name


def _renaming(partition_by: Sequence[str], name: str) -> str:
    if not partition_by:
        return f"Rename the folder {name}= in folder_template"
    levels = [_renamed(unit, name) for unit in partition_by]
    return f'Rename it: folder_template = "{"/".join(levels)}" in the place of partition_by'


def _renamed(unit: str, name: str) -> str:
    if unit in PARTITIONS:
        return PARTITIONS[unit]
    path = unit.removeprefix("field:")
    own = path.rpartition(".")[2]
    return f"{'document_' if own == name else ''}{own}={{field:{path}}}"
