"""Formats: check that every reader of a source's raw documents can read them, before anything is opened."""

from collections.abc import Iterator, Mapping

import attrs

from rigatoni_core.api.components import component_name, fields_of, key_of, kinds_of
from rigatoni_core.api.contracts import ANY_FORMAT, FormatReader, Source
from rigatoni_core.api.errors import ConfigurationError

KeyPath = tuple[str | int, ...]
"""Keys of options and indices of lists, from the pipeline's own table."""


@attrs.frozen
class FormatMismatch:
    """A component that cannot read the raw documents of the source.

    Attributes:
        path: Where it stands in the pipeline, such as `("destination", "serializer")`.
        message: Names both components and both formats.
    """

    path: KeyPath
    message: str


REMEDY = "Use components that read the format of the source, or another source."


def format_mismatches(source: Source, parts: Mapping[str, object]) -> Iterator[FormatMismatch]:
    """Yield every component that cannot read what the source produces.

    Args:
        source: The source.
        parts: What gets its events, by the key in the pipeline. Looked at with all components among their options.
    """
    made = source.decoder.format
    for path, reader in _unfit(parts, (), made):
        kind = next(iter(kinds_of(type(reader))), "component")
        accepted = " or ".join(f'"{each}"' for each in sorted(reader.accepts)) or "none"
        yield FormatMismatch(
            path,
            f'the {kind} "{component_name(type(reader))}" reads the format {accepted}, '
            f'but the source "{component_name(type(source))}" produces "{made}"',
        )


def check_formats(source: Source, parts: Mapping[str, object]) -> None:
    """Check that the components read the format of the source.

    Args:
        source: The source.
        parts: The components by their key in the configuration.

    Raises:
        ConfigurationError: Some do not. The message contains all of `format_mismatches`.
    """
    if found := list(format_mismatches(source, parts)):
        raise ConfigurationError(
            "; ".join(f"{'.'.join(map(str, mismatch.path))}: {mismatch.message}" for mismatch in found), remedy=REMEDY
        )


def _unfit(value: object, path: KeyPath, made: str) -> list[tuple[KeyPath, FormatReader]]:
    """The readers in this value that do not accept the format; of a wrapper only what it wraps."""
    inner: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, Mapping):
        inner = iter(value.items())
    elif isinstance(value, (tuple, list)):
        inner = iter(enumerate(value))
    elif attrs.has(type(value)):
        inner = ((key_of(field), getattr(value, field.name)) for field in fields_of(type(value)))
    found = [each for key, item in inner for each in _unfit(item, (*path, key), made)]
    if not found and isinstance(value, FormatReader) and not {made, ANY_FORMAT} & value.accepts:
        return [(path, value)]
    return found
