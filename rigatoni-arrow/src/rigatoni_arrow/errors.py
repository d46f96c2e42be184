"""The errors of this distribution."""

from rigatoni_core.api.errors import ConfigurationError


class SchemaFileError(ConfigurationError):
    """The schema file cannot be read, or does not describe a schema. `faults` lists every fault found."""

    id = "parquet-schema-file"
    default_remedy = (
        "A schema file (TOML or JSON) looks like a document, with a type's name in the place of each value. "
        "The README of rigatoni-parquet shows one."
    )
