"""A pipeline's table: its source, destination, state and settings."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
from attrs import validators

from rigatoni_core.api.components import fields_of
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Destination, Listener, Source, StateStore, Transform
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import SIDE_STREAMS
from rigatoni_core.api.formats import REMEDY, format_mismatches
from rigatoni_core.api.protection import ORDER_REMEDY, misplaced
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.config import plugins
from rigatoni_core.config.cli_values import Override
from rigatoni_core.config.documents import Document, documents, overridden
from rigatoni_core.config.faults import Fault, InvalidConfigurationError, KeyPath, Refused, faults_of, nearest, spelled
from rigatoni_core.config.paths import paths_of
from rigatoni_core.config.secrets import Redaction, open_passwords
from rigatoni_core.config.structuring import Structuring
from rigatoni_core.plugins.catalog import Catalog


def _check_name(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not value or not value.isprintable():
        raise ValueError("must not be empty, nor hold control characters")
    if value.endswith(tuple(f".{side}" for side in SIDE_STREAMS)):
        raise ValueError(
            f"must not end in {' or '.join(f'.{side}' for side in SIDE_STREAMS)}: names of side streams do"
        )


@attrs.frozen(kw_only=True)
class PipelineTable(Settings):
    """The table `[pipeline]`: the settings, the name and the components."""

    name: Annotated[str, "It names the checkpoints and folders of this pipeline"] = attrs.field(validator=_check_name)
    source: Annotated[Source, "[pipeline.source] is where change events come from"]
    destination: Annotated[Destination, "[pipeline.destination] is where they are written"]
    state: Annotated[
        StateStore,
        '[pipeline.state] is where checkpoints are kept: type = "file" keeps them when the process ends, '
        'type = "memory" forgets them and so must be explicit',
    ]
    dead_letters: Annotated[
        Destination | None, "[pipeline.dead_letters] is where events go that the destination cannot accept"
    ] = None
    transforms: Annotated[
        tuple[Transform, ...], "Each [[pipeline.transforms]] changes, drops or rejects events, in this order"
    ] = ()
    listeners: Annotated[
        tuple[Listener, ...], "Each [[pipeline.listeners]] receives notices, for metrics or traces"
    ] = ()
    instances: Annotated[
        int | Literal["auto"],
        "How many instances `rigatoni run` starts, processes that share the streams; `auto`: one for each core. More "
        "than one need a state store with leases",
    ] = attrs.field(default=1, validator=validators.or_(validators.in_(("auto",)), validators.ge(1)))

    @staticmethod
    def conflicts(built: Mapping[str, Any]) -> Iterator[Refused]:
        """Yield conflicts between the components that could be built. See `Structuring`."""
        if "source" in built:
            parts = {key: built[key] for key in ("transforms", "destination", "dead_letters") if key in built}
            for mismatch in format_mismatches(built["source"], parts):
                yield Refused(f"{mismatch.message}. {REMEDY}", *mismatch.path)
        for index, why in misplaced(built.get("transforms", ())):
            yield Refused(f"{why}. {ORDER_REMEDY}", "transforms", index)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.rejection_policy(dead_letters=self.dead_letters is not None)
        self.check_maximums(self.destination.maximums)


_ELSEWHERE = {
    **{field.name: "pipeline" for field in fields_of(PipelineTable) if field.name != "batch_size"},
    **{field.name: "pipeline.retry" for field in fields_of(RetrySettings)},
}


def load(path: Path, catalog: Catalog, overrides: Sequence[Override] = ()) -> PipelineConfiguration:
    """Load the only pipeline of a TOML file. Raises like `load_all`, and if there are several."""
    found = load_all(path, catalog, overrides)
    if len(found) > 1:
        raise ConfigurationError(
            f"{path} describes {len(found)} pipelines: {', '.join(each.name for each in found)}",
            remedy="Name a file that describes one.",
        )
    return found[0]


def load_all(path: Path, catalog: Catalog, overrides: Sequence[Override] = ()) -> tuple[PipelineConfiguration, ...]:
    """Load the pipelines of a TOML file, or of all files `*.toml` in a folder; at least one.

    A file holds the table `[pipeline]`, or several `[[pipeline]]`, and may hold `[defaults]` for them and the table
    `[plugins]`, which limits the plugins of the catalog (`plugin_lists`). Relative paths start at the folder of
    the file that holds them, those of `overrides` at the working directory. Raises `ConfigurationError`; an
    `InvalidConfigurationError` contains all errors of the files.
    """
    return _structured(documents(path), catalog, str(path), overrides)


def structure(document: Mapping[str, Any], catalog: Catalog) -> PipelineConfiguration:
    """Build the pipeline of a document `{"pipeline": {...}}`, such as `tomllib` returns. Raises like `load`."""
    where = "the configuration"
    return _structured([Document(where, document)], catalog, where, ())[0]


def _structured(
    found: Sequence[Document], catalog: Catalog, where: str, overrides: Sequence[Override]
) -> tuple[PipelineConfiguration, ...]:
    """Build every pipeline of the documents, or raise all their errors."""
    configurations: list[PipelineConfiguration] = []
    faults: list[Fault] = []
    names: dict[str, str] = {}
    for document in found:
        faults += [
            Fault((key,), _stray(key), document.line((key,), ()), document.path)
            for key in document.content
            if key not in ("pipeline", "defaults", "plugins")
        ]
        faults += plugins.faults_of(document)
        pipelines = list(document.pipelines())
        if not pipelines:
            message = "is missing: describe a pipeline in the table [pipeline], or several in [[pipeline]]"
            faults.append(Fault(("pipeline",), message, None, document.path))
        for path, table in pipelines:
            try:
                configuration = _pipeline(document, path, table, catalog, overrides)
            except _FaultyError as error:
                faults += error.faults
                continue
            if (other := names.get(configuration.name)) is not None:
                message = (
                    f'another pipeline has the name "{configuration.name}", in {other}: they would share positions'
                )
                faults.append(Fault((*path, "name"), message, document.line((*path, "name"), path), document.path))
            names[configuration.name] = document.path
            configurations.append(configuration)
    if faults:
        raise InvalidConfigurationError(where, faults)
    return tuple(configurations)


class _FaultyError(Exception):
    """The errors of one pipeline."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__()
        self.faults = faults


def _pipeline(
    document: Document, path: KeyPath, table: Any, catalog: Catalog, overrides: Sequence[Override]
) -> PipelineConfiguration:
    """Build one pipeline of a document. Raises `_FaultyError`."""
    redaction = Redaction()
    whole = overridden(table, document.content.get("defaults"), overrides)
    warnings = []
    for place, uri in open_passwords(whole, path):
        redaction.add(uri)
        line = document.line(place, path)
        warnings.append(
            f"{document.path}{f':{line}' if line else ''}: {spelled(place)}: holds a password that every reader of the "
            'file can see; use { env = "VARIABLE" } or { file = "path" }'
        )
    try:
        built = Structuring(catalog, redaction, _ELSEWHERE, document.folder).build(whole, PipelineTable)
    except Exception as error:
        raise _FaultyError(
            [
                attrs.evolve(
                    fault,
                    message=redaction(fault.message) + _origin(fault.path[len(path) :], overrides),
                    line=document.line(fault.path, path),
                    file=document.path,
                )
                for fault in faults_of(error, path)
            ]
        ) from error
    if built.dead_letters is not None and built.on_rejected in ("skip", "stop"):
        warnings.append(
            f'{document.path}: [pipeline.dead_letters] is unused, because on_rejected = "{built.on_rejected}"'
        )
    chosen = {field.name for field in attrs.fields(Settings)} & whole.keys()
    return PipelineConfiguration(
        name=built.name,
        source=built.source,
        destination=built.destination,
        state=built.state,
        dead_letters=built.dead_letters,
        settings=Settings.suiting(built.destination.limits, **{name: getattr(built, name) for name in chosen}),
        transforms=built.transforms,
        listeners=built.listeners,
        instances=built.instances,
        warnings=tuple(warnings),
        paths={spelled(key): full for key, full in paths_of(built)},
        redaction=redaction,
    )


def _origin(path: KeyPath, overrides: Sequence[Override]) -> str:
    """Return a note that the value at this path comes from the command line, if it does."""
    return " (given by --set)" if any(path[: len(key)] == key for key, _ in overrides) else ""


def _stray(key: str) -> str:
    if key == "batch_size" or key in _ELSEWHERE:
        return f"unknown key here; it belongs to [{_ELSEWHERE.get(key, 'pipeline')}]"
    near = nearest(key, ["pipeline", "defaults", "plugins"])
    return f"unknown key{near or '; use the table [pipeline] or [defaults]'}"
