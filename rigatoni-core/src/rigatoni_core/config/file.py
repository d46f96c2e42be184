"""A pipeline's file: one table `[pipeline]` with its source, destination, state and retry."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import attrs

from rigatoni_core.catalog import Catalog
from rigatoni_core.config.faults import Fault, InvalidConfigurationError, KeyPath, faults_of, nearest, spelled
from rigatoni_core.config.lines import line_of, lines_of
from rigatoni_core.config.options import fields_of
from rigatoni_core.config.secrets import Redaction, open_passwords
from rigatoni_core.config.structuring import Structuring
from rigatoni_core.contracts import Destination, Listener, Source, StateStore
from rigatoni_core.errors import ConfigurationError
from rigatoni_core.events import SIDES
from rigatoni_core.settings import RetrySettings, Settings


@attrs.frozen(kw_only=True)
class PipelineConfiguration:
    """A whole pipeline, ready to be run. `warnings` says what is allowed but unwise.

    `redaction` takes the secrets of this configuration out of any text.
    """

    name: str
    source: Source
    destination: Destination
    state: StateStore
    dead_letters: Destination | None = None
    settings: Settings = attrs.field(factory=Settings)
    listeners: tuple[Listener, ...] = ()
    warnings: tuple[str, ...] = ()
    redaction: Redaction = attrs.field(factory=Redaction, eq=False, repr=False)


def _check_name(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not value or not value.isprintable():
        raise ValueError("must not be empty, nor hold control characters")
    if value.endswith(tuple(f".{side}" for side in SIDES)):
        raise ValueError(
            f"must not end in {' or '.join(f'.{side}' for side in SIDES)}: what stands beside streams does"
        )


@attrs.frozen(kw_only=True)
class PipelineTable(Settings):
    """The table `[pipeline]`: the settings, and what makes it this pipeline."""

    name: Annotated[str, "It names the checkpoints and folders of this pipeline"] = attrs.field(validator=_check_name)
    source: Annotated[Source, "[pipeline.source] says where change events come from"]
    destination: Annotated[Destination, "[pipeline.destination] says where they go"]
    state: Annotated[
        StateStore,
        '[pipeline.state] says where checkpoints are kept: type = "file" keeps them when the process ends, '
        'type = "memory" forgets them and so must be asked for',
    ]
    dead_letters: Annotated[
        Destination | None, "[pipeline.dead_letters] says where events go that the destination can not take"
    ] = None
    listeners: Annotated[tuple[Listener, ...], "Each [[pipeline.listeners]] is told what happens: metrics, traces"] = ()

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.rejection_policy(dead_letters=self.dead_letters is not None)


_ELSEWHERE = {
    **{field.name: "pipeline" for field in fields_of(PipelineTable) if field.name != "batch_size"},
    **{field.name: "pipeline.retry" for field in fields_of(RetrySettings)},
}


def load(path: Path, catalog: Catalog) -> PipelineConfiguration:
    """The pipeline that a TOML file describes; relative paths in it begin where the process runs.

    Raises `ConfigurationError`: where the file holds faults, an `InvalidConfigurationError` with all of them.
    """
    text = _read(path)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} is not TOML: {error}", remedy="See https://toml.io; texts need quotes."
        ) from None
    return structure(document, catalog, where=str(path), lines=lines_of(text))


def structure(
    document: Mapping[str, Any],
    catalog: Catalog,
    *,
    where: str = "the configuration",
    lines: Mapping[KeyPath, int] | None = None,
) -> PipelineConfiguration:
    """The pipeline of a document `{"pipeline": {...}}`, such as `tomllib` gives. Raises as `load` does."""
    redaction, lines = Redaction(), lines or {}
    warnings = []
    for path, uri in open_passwords(document):
        redaction.add(uri)
        line = line_of(path, lines)
        warnings.append(
            f"{where}{f':{line}' if line else ''}: {spelled(path)}: holds a password that everyone can read who reads "
            'the file; better { env = "VARIABLE" } or { file = "path" }'
        )
    faults = [Fault((key,), _stray(key)) for key in document if key != "pipeline"]
    table: Any = None
    if "pipeline" not in document:
        faults.append(Fault(("pipeline",), "is missing: a file describes one pipeline, in the table [pipeline]"))
    else:
        try:
            table = Structuring(catalog, redaction, _ELSEWHERE).build(document["pipeline"], PipelineTable)
        except Exception as error:
            faults.extend(faults_of(error, ("pipeline",)))
    if faults:
        raise InvalidConfigurationError(
            where,
            [
                attrs.evolve(fault, message=redaction(fault.message), line=line_of(fault.path, lines))
                for fault in faults
            ],
        )
    if table.dead_letters is not None and table.on_rejected in ("skip", "stop"):
        warnings.append(
            f'{where}: no event goes into [pipeline.dead_letters], since on_rejected = "{table.on_rejected}"'
        )
    return PipelineConfiguration(
        name=table.name,
        source=table.source,
        destination=table.destination,
        state=table.state,
        dead_letters=table.dead_letters,
        settings=Settings(**{field.name: getattr(table, field.name) for field in attrs.fields(Settings)}),
        listeners=table.listeners,
        warnings=tuple(warnings),
        redaction=redaction,
    )


def _stray(key: str) -> str:
    if key == "batch_size" or key in _ELSEWHERE:
        return f"unknown key here; it belongs to [{_ELSEWHERE.get(key, 'pipeline')}]"
    return f"unknown key{nearest(key, ['pipeline']) or '; everything stands in the table [pipeline]'}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {path}", remedy="Name the pipeline's TOML file.") from None
    except IsADirectoryError:
        raise ConfigurationError(f"{path} is a folder", remedy="Name the pipeline's TOML file in it.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} can not be read: {error.strerror}", remedy="Check its permissions.") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path} is not UTF-8 text (byte {error.start})", remedy="Save it in UTF-8, as TOML demands."
        ) from None
