"""A pipeline that a command runs itself, such as `rigatoni tail`."""

from collections.abc import Sequence

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.engine.pipeline import Pipeline


class SingleRun:
    """The `PipelineRun` of commands (`rigatoni_core.api.commands`).

    Args:
        configuration: The pipeline.
        streams: The streams to run; all of them if empty.
        handle_signals: Whether Ctrl-C and SIGTERM end it.
    """

    def __init__(self, configuration: PipelineConfiguration, streams: Sequence[str], *, handle_signals: bool) -> None:
        self._pipeline = Pipeline.of(configuration, only=streams)
        self._handle_signals = handle_signals

    def stop(self) -> None:
        """Ask for a graceful end. See `PipelineRun.stop`."""
        self._pipeline.stop()

    async def run(self) -> None:
        """Run to the end. See `PipelineRun.run`."""
        report = await self._pipeline.run(handle_signals=self._handle_signals)
        for outcome in report.workers.values():
            if outcome.error is not None:
                raise outcome.error
