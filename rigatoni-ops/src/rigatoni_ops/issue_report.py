"""The contents of a report for an issue: versions, options without secrets, figures, errors, findings."""

import platform
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs
from rigatoni_core.api.commands import Application
from rigatoni_core.api.components import described
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.errors import NoAnswerError, RigatoniError
from rigatoni_core.config import installed_plugins

from rigatoni_ops.diagnosis.examination import examine
from rigatoni_ops.diagnosis.output import record_of

HIDDEN = "***"

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_PARAMETER = re.compile(r"([?&][^=&\s]*(?:password|secret|token|key|credential|sig)[^=&\s]*=)[^&\s\"']+", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"passw|secret|token|credential|authorization|(?:api|access|private|account|shared)[-_.]?key", re.IGNORECASE
)
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


async def collect(
    app: Application, file: Path, overrides: Sequence[str], *, now: datetime, timeout: float | None
) -> Mapping[str, Any]:
    """Return the report as plain JSON values, without secrets.

    A file with errors is reported with them.

    Args:
        app: Reads the file, and knows the secrets in it.
        file: The pipelines' file.
        overrides: Each `KEY=VALUE`.
        now: The present time.
        timeout: Seconds for each check of `rigatoni doctor`; None to make none.
    """
    configurations: Sequence[PipelineConfiguration] = ()
    failure = None
    try:
        configurations = app.configurations(file, overrides)
    except RigatoniError as error:
        failure = {"id": error.id, "message": str(error), "remedy": error.remedy}
    findings = [
        record_of(app, found)
        for configuration in configurations
        if timeout is not None
        for found in await examine(configuration, timeout)
    ]
    contents = {
        "report": 1,
        "made_at": now.isoformat(timespec="seconds"),
        "system": _system(),
        "versions": _versions(),
        "plugins": [
            attrs.asdict(plugin, filter=attrs.filters.include("name", "distribution", "version", "status", "reason"))
            for plugin in installed_plugins().plugins
        ],
        "error": failure,
        "pipelines": [_pipeline(configuration) for configuration in configurations],
        "running": _running(app, file),
        "doctor": findings,
    }
    without: Mapping[str, Any] = cleaned(contents, app)
    return without


def cleaned(value: Any, app: Application) -> Any:
    """Return plain JSON values without secrets: known ones, options named like one, and credentials in URIs.

    The home folder, which names the user, becomes `~`.

    Args:
        value: Plain JSON values.
        app: Knows the secrets of the configuration.
    """
    match value:
        case Mapping():
            return {
                _text(str(key), app): HIDDEN if item and _is_secret(str(key), item) else cleaned(item, app)
                for key, item in value.items()
            }
        case str():
            return _text(value, app)
        case Sequence():
            return [cleaned(item, app) for item in value]
        case _:
            return value


def _is_secret(key: str, value: Any) -> bool:
    return isinstance(value, (str, Mapping, list, tuple)) and _SECRET_NAME.search(key) is not None


def _text(text: str, app: Application) -> str:
    hidden = _PARAMETER.sub(rf"\g<1>{HIDDEN}", _CREDENTIALS.sub(f"{HIDDEN}@", app.redacted(text)))
    home = str(Path.home())
    return hidden.replace(home, "~") if len(home) > 1 else hidden


def _system() -> Mapping[str, Any]:
    return {
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }


def _versions() -> Mapping[str, str]:
    """Return the installed versions of Rigatoni's distributions and of the libraries that these require."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.name or ""
        if not name.lower().startswith("rigatoni"):
            continue
        found[name] = distribution.version
        for requirement in distribution.requires or ():
            library = _REQUIREMENT.match(requirement)
            if library is None or "extra ==" in requirement:
                continue
            try:
                found.setdefault(library[0], metadata.version(library[0]))
            except metadata.PackageNotFoundError:
                found.setdefault(library[0], "not installed")
    return dict(sorted(found.items()))


def _pipeline(configuration: PipelineConfiguration) -> Mapping[str, Any]:
    """Return the options that differ from their defaults."""
    settings = described(configuration.settings, defaults=False)
    components = {
        name: described(component, defaults=False)
        for name in ("source", "destination", "state", "dead_letters")
        if (component := getattr(configuration, name)) is not None
    }
    return {
        "name": configuration.name,
        "settings": {name: value for name, value in settings.items() if name != "type"},
        **components,
        "transforms": [described(each, defaults=False) for each in configuration.transforms],
        "listeners": [described(each, defaults=False) for each in configuration.listeners],
        "warnings": list(configuration.warnings),
    }


def _running(app: Application, file: Path) -> Sequence[Any]:
    """Return the status of the processes that run this file, or why one does not report it."""
    wanted = str(file.resolve())
    return [
        {"pid": pid, "error": str(reply)} if isinstance(reply, NoAnswerError) else reply
        for pid, reply in app.running()
        if isinstance(reply, NoAnswerError) or reply.get("file") == wanted
    ]
