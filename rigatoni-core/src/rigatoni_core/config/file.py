"""A pipeline's file: one table `[pipeline]` with its source, destination, state and retry."""

import tomllib
from pathlib import Path
from typing import Any

import attrs

from rigatoni_core.catalog import Catalog
from rigatoni_core.config.options import KINDS, fields_of
from rigatoni_core.config.structuring import Structuring, nearest
from rigatoni_core.contracts import Destination, Source, StateStore
from rigatoni_core.errors import ConfigurationError
from rigatoni_core.settings import RetrySettings, Settings

_COMPONENTS: dict[str, type[Any]] = {kind: contract for contract, kind in KINDS.items() if kind != "serializer"}
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
    for key in document:
        if key != "pipeline":
            faults.append(f"{key}: unknown key{nearest(key, ['pipeline'])}")
    table = document.get("pipeline")
    if not isinstance(table, dict):
        faults.append("pipeline: is missing: a file describes one table [pipeline]")
        raise _error(path, faults)
    settings_keys = [field.name for field in fields_of(Settings)]
    known = ["name", *_COMPONENTS, *settings_keys]
    faults += [f"pipeline.{key}: unknown key{nearest(key, known)}" for key in table if key not in known]
    name: Any = structuring.build(table["name"], str, "pipeline.name", faults) if "name" in table else None
    if "name" not in table:
        faults.append("pipeline.name: is missing: it names the checkpoints and folders of this pipeline")
    elif name == "":
        faults.append("pipeline.name: must not be empty")
    built: dict[str, Any] = {}
    for kind, contract in _COMPONENTS.items():
        if kind in table:
            built[kind] = structuring.build(table[kind], contract, f"pipeline.{kind}", faults)
        else:
            hint = ' (for a trial without one: { type = "memory" }, which forgets)' if kind == "state" else ""
            faults.append(f"pipeline.{kind}: is missing{hint}")
    settings = {key: table[key] for key in settings_keys if key in table}
    if "retry" in settings:
        structuring.build(settings["retry"], RetrySettings, "pipeline.retry", faults)
    if not any(fault.startswith("pipeline.retry") for fault in faults):
        built["settings"] = structuring.build(settings, Settings, "pipeline", faults)
    if faults:
        raise _error(path, faults)
    return PipelineConfiguration(name=name, **built, warnings=tuple(structuring.warnings))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {path}", remedy="Name the pipeline's TOML file.") from None
    except IsADirectoryError:
        raise ConfigurationError(f"{path} is a folder", remedy="Name the pipeline's TOML file in it.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} can not be read: {error.strerror}", remedy="Check its permissions.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text", remedy="Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}", remedy=_REMEDY) from None


def _error(path: Path, faults: list[str]) -> ConfigurationError:
    count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
    lines = "".join(f"\n  {path}: {fault}" for fault in faults)
    return ConfigurationError(f"{count} in {path}:{lines}", remedy=_REMEDY, faults=tuple(faults))
