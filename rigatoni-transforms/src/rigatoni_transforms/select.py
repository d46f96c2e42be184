"""The transform `select`: keeps or removes fields."""

from typing import Annotated, Any

import attrs
from rigatoni_core.api.options import texts

from rigatoni_transforms.errors import PathError
from rigatoni_transforms.matching import KEEP, REMOVE, start_of
from rigatoni_transforms.paths import Path, parsed
from rigatoni_transforms.privacy import Closure, PrivacyTransform, check_paths, paths_of_documents


def _check_included(instance: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    parsed(value)


@attrs.define(kw_only=True, eq=False)
class SelectTransform(PrivacyTransform):
    """Keeps the fields of `include`, or removes those of `exclude`; `_id` stays."""

    include: Annotated[tuple[str, ...], "Paths of the fields that are kept; all others are removed"] = attrs.field(
        default=(), converter=texts, validator=_check_included
    )
    exclude: Annotated[tuple[str, ...], "Paths of the fields that are removed; all others are kept"] = attrs.field(
        default=(), converter=texts, validator=check_paths
    )

    def closure(self) -> Closure:
        """See `PrivacyTransform`."""
        if bool(self.include) == bool(self.exclude):
            given = "both include and exclude are" if self.include else "neither include nor exclude is"
            raise PathError(f"{given} given", remedy="Give one of the two.")
        if self.exclude:
            return Closure(start_of([(path, REMOVE) for path in paths_of_documents(self.exclude)]), keeps_others=True)
        paths = (Path.parse("_id"), *(path for path in parsed(self.include) if path.steps[0] != "_id"))
        return Closure(start_of([(path, KEEP) for path in paths]), keeps_others=False)
