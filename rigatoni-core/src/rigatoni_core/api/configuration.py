"""A whole pipeline, as a command gets it from a file and as `Pipeline.of` runs it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import attrs

from rigatoni_core.api.contracts import Destination, Listener, Source, StateStore, Transform
from rigatoni_core.api.settings import Settings


@attrs.frozen(kw_only=True)
class PipelineConfiguration:
    """A pipeline that has not been opened: its components are constructed and connect when they are entered.

    Args:
        name: Names the checkpoints and folders of the pipeline.
        source: Where change events come from.
        destination: Where they are written.
        state: Where checkpoints are kept.
        dead_letters: Where rejected events are written; None if the pipeline keeps none.
        settings: The settings in force, with the limits that the destination suggests.
        transforms: What changes events on their way to the destination, in order.
        listeners: The listeners of the file.
        instances: How many processes `rigatoni run` starts to share the streams; `auto` for one a core.
        warnings: Settings of the file that are allowed but not recommended, described for people.
        paths: Every path among the options, made absolute, by its TOML key.
        redaction: Replaces each secret of this configuration in any text.
    """

    name: str
    source: Source
    destination: Destination
    state: StateStore
    dead_letters: Destination | None = None
    settings: Settings = attrs.field(factory=Settings)
    transforms: tuple[Transform, ...] = ()
    listeners: tuple[Listener, ...] = ()
    instances: int | Literal["auto"] = 1
    warnings: tuple[str, ...] = ()
    paths: Mapping[str, Path] = attrs.field(factory=dict)
    redaction: Callable[[str], str] = attrs.field(default=str, eq=False, repr=False)
