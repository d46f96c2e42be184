"""The nested columns of documents, and their types in one file."""

from collections.abc import Mapping

import attrs
from rigatoni_bson.columns import EventColumns

from rigatoni_arrow.agreed_types import AgreedTypes
from rigatoni_arrow.documents import Documents
from rigatoni_arrow.inference import Findings, inferred
from rigatoni_arrow.types import Struct

KEY, IMAGES = "document_key", ("full_document", "full_document_before_change")
"""The columns that can be nested. An update's description cannot: its field names are paths, which differ each time."""


REST = "_rest"
"""The suffix of the column with the values that do not fit the nested column."""


@attrs.define(eq=False)
class Nesting:
    """The nested columns of one file, with the types of `schema`, or with types inferred from the documents.

    With `agreed`, fields of earlier files of the run keep their types.

    Both images of a document have the same type. With a schema, the keys have the types of its fields.
    """

    schema: Struct | None = None
    agreed: AgreedTypes | None = None
    _found: dict[str, Findings] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.schema is None:
            self._found = {KEY: Findings(), **dict.fromkeys(IMAGES, Findings())}

    def documents(self, columns: EventColumns) -> dict[str, Documents]:
        """Inspect and return the documents of the nested columns. Without a schema, call `types` afterwards."""
        return {name: Documents(columns.values[name], self._found.get(name)) for name in (KEY, *IMAGES)}

    def take(self, keys: Findings, images: Findings) -> None:
        """Set the findings of the accelerator, which has inspected all documents."""
        self._found = {KEY: keys, **dict.fromkeys(IMAGES, images)}

    def types(self) -> Mapping[str, Struct | None]:
        """Return the type of each nested column; None if no column can represent any field."""
        if self.schema is not None:
            return {KEY: Struct({"_id": self.schema.fields["_id"]}), **dict.fromkeys(IMAGES, self.schema)}
        key, image = inferred(self._found[KEY]), inferred(self._found[IMAGES[0]])
        if self.agreed is not None:
            key, image = self.agreed.on(KEY, key), self.agreed.on(IMAGES[0], image)
        return {KEY: key, **dict.fromkeys(IMAGES, image)}
