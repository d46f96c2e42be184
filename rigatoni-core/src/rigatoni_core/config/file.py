"""A pipeline's file: one table `[pipeline]` with its source, destination, state and retry."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from rigatoni_core.catalog import Catalog
from rigatoni_core.config.options import KINDS, fields_of
from rigatoni_core.config.structuring import PASSWORD, Structuring, nearest
from rigatoni_core.contracts import Destination, Source, StateStore
from rigatoni_core.errors import ConfigurationError
from rigatoni_core.settings import Settings

_COMPONENTS: dict[str, type[Any]] = {kind: contract for contract, kind in KINDS.items() if kind != "serializer"}
_WHY = {
    "name": "it names the checkpoints and folders of this pipeline",
    "source": 'where the events come from, such as { type = "mongodb", ... }',
    "destination": 'where the events go, such as { type = "local", ... }',
    "state": (
        'where checkpoints are kept, such as { type = "file", path = "state" }; '
        '{ type = "memory" } forgets them at the end of the process, so it must be asked for'
    ),
}
_REMEDY = "Correct the file and look again with `rigatoni validate`."


@attrs.frozen(kw_only=True)
class PipelineConfiguration:
    """A whole pipeline, ready to be run. `warnings` says what is allowed but unwise."""

    name: str
    source: Source
    destination: Destination
    state: StateStore
    settings: Settings
    warnings: tuple[str, ...] = ()


def load(path: Path, catalog: Catalog) -> PipelineConfiguration:
    """The pipeline that the file describes. Raises `ConfigurationError` with every fault in `faults`."""
    document = _read(path)
    structuring, faults = Structuring(catalog), list[str]()
    faults += [f"{key}: unknown key{nearest(key, ['pipeline'])}" for key in document if key != "pipeline"]
    table = document.get("pipeline")
    if not isinstance(table, dict):
        faults.append("pipeline: is missing: a file describes one table [pipeline]")
        raise _error(path, faults)
    settings_keys = [field.name for field in fields_of(Settings)]
    known = ["name", *_COMPONENTS, *settings_keys]
    faults += [f"pipeline.{key}: unknown key{nearest(key, known)}" for key in table if key not in known]
    built: dict[str, Any] = {"settings": {key: table[key] for key in settings_keys if key in table}}
    built["settings"] = structuring.build(built["settings"], Settings, "pipeline", faults)
    for key, hint in {"name": str, **_COMPONENTS}.items():
        if key in table:
            built[key] = structuring.build(table[key], hint, f"pipeline.{key}", faults)
        else:
            faults.append(f"pipeline.{key}: is missing: {_WHY[key]}")
    if built.get("name") == "":
        faults.append("pipeline.name: must not be empty")
    if faults:
        raise _error(path, [structuring.redacted(fault) for fault in faults])
    return PipelineConfiguration(**built, warnings=tuple(_passwords(table, "pipeline")))


def _passwords(value: Any, path: str) -> Iterator[str]:
    """A warning for each password that stands in the file as part of a URI."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _passwords(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _passwords(item, f"{path}[{index}]")
    elif isinstance(value, str) and PASSWORD.search(value):
        yield f'{path}: a password stands in the file; safer is {{ env = "VARIABLE" }} or {{ file = "path" }}'


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fault, remedy = f"there is no file {path}", "Name the pipeline's TOML file."
    except IsADirectoryError:
        fault, remedy = f"{path} is a folder", "Name the pipeline's TOML file in it."
    except OSError as error:
        fault, remedy = f"{path} can not be read: {error.strerror}", "Check the path and its permissions."
    except UnicodeDecodeError as error:
        fault, remedy = f"{path} is not UTF-8 text (byte {error.start})", "Save it as UTF-8."
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        fault, remedy = f"{path} is not TOML: {error}", _REMEDY
    raise ConfigurationError(fault, remedy=remedy, faults=(fault,))


def _error(path: Path, found: list[str]) -> ConfigurationError:
    faults = tuple(f"{path}: {fault}" for fault in found)
    count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
    return ConfigurationError("\n  ".join((f"{count} in {path}:", *faults)), remedy=_REMEDY, faults=faults)
