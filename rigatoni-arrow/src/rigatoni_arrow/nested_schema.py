"""Which columns of documents are nested, and the types that they have in one file."""

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
"""The end of the name of the column that holds what a nested column does not."""


@attrs.define(eq=False)
class Nesting:
    """The nested columns of one file: of the types that `schema` says, or that the documents which it is shown have.

    With `agreed`, the documents' types are those of earlier files of the run, as far as the fields are known.

    Both images of a document have the same type, and so do the keys as far as they are the schema's.
    """

    schema: Struct | None = None
    agreed: AgreedTypes | None = None
    _found: dict[str, Findings] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.schema is None:
            self._found = {KEY: Findings(), **dict.fromkeys(IMAGES, Findings())}

    def documents(self, columns: EventColumns) -> dict[str, Documents]:
        """The documents of the nested columns, looked at; without a schema, all of them come before `types`."""
        return {name: Documents(columns.values[name], self._found.get(name)) for name in (KEY, *IMAGES)}

    def take(self, keys: Findings, images: Findings) -> None:
        """All documents were looked at already, elsewhere: this is what they hold."""
        self._found = {KEY: keys, **dict.fromkeys(IMAGES, images)}

    def types(self) -> Mapping[str, Struct | None]:
        """The type of each nested column; None where there is nothing that a column could say."""
        if self.schema is not None:
            return {KEY: Struct({"_id": self.schema.fields["_id"]}), **dict.fromkeys(IMAGES, self.schema)}
        key, image = inferred(self._found[KEY]), inferred(self._found[IMAGES[0]])
        if self.agreed is not None:
            key, image = self.agreed.on(KEY, key), self.agreed.on(IMAGES[0], image)
        return {KEY: key, **dict.fromkeys(IMAGES, image)}
