"""Refuses partition names that readers confuse with a column of the files or with each other.

For readers the folder takes precedence: every event of a file below `operation=buy/` appears to have the operation
`buy`. SQL readers treat names that differ only by case as equal.
"""

from collections.abc import Sequence

from rigatoni_objects.path_template import PARTITIONS, PathTemplate

_SAME_VALUES = {(name, part) for name in ("database", "collection") for part in (name, f"event_{name}")}
"""Partitions whose value equals that of the column with the same name."""


def check_names(template: PathTemplate, partition_by: Sequence[str], columns: Sequence[str], suffix: str) -> None:
    """Refuse partitions that readers confuse with a column or with each other.

    Args:
        template: The folders.
        partition_by: The option that the folders come from; empty for a template.
        columns: The names of the files' columns, or of their documents' fields.
        suffix: The suffix of file names; for messages.

    Raises:
        ValueError: A partition has the name of a column or of another partition. The message includes the remedy.
    """
    taken: dict[str, str] = {column.casefold(): column for column in columns}
    seen = dict[str, str]()
    for name, part in template.partitions:
        folded = name.casefold()
        if folded in taken and (name, part) not in _SAME_VALUES:
            raise ValueError(
                f"the partition {name!r} has the name of a column of {suffix} files ({taken[folded]!r}), and readers "
                f"prefer the folder's value to the column's. {_renaming(partition_by, name)}"
            )
        if folded in seen:
            raise ValueError(
                f"readers treat the partitions {seen[folded]!r} and {name!r} as one column. "
                f"{_renaming(partition_by, name)}"
            )
        seen[folded] = name


def _renaming(partition_by: Sequence[str], name: str) -> str:
    if not partition_by:
        return f"Rename the folder {name}= in folder_template"
    levels = [_renamed(unit, name) for unit in partition_by]
    return f'Rename it: folder_template = "{"/".join(levels)}" instead of partition_by'


def _renamed(unit: str, name: str) -> str:
    if unit in PARTITIONS:
        return PARTITIONS[unit]
    path = unit.removeprefix("field:")
    own = path.rpartition(".")[2]
    return f"{'document_' if own == name else ''}{own}={{field:{path}}}"
