"""Several isolated pipelines in one process, which end together."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from rigatoni_core.engine.pipeline import Pipeline, PipelineReport


class PipelineGroup:
    """Runs pipelines of different names. A group runs once. `stopping` is whether `stop` was called.

    Args:
        pipelines: The pipelines.
        failed: Called immediately with the name and the error of a pipeline that could not be opened or ended by a bug.
            The others continue.
    """

    def __init__(
        self, pipelines: Sequence[Pipeline], failed: Callable[[str, Exception], None] = lambda name, error: None
    ) -> None:
        self.pipelines = pipelines
        self.stopping = False
        self._failed = failed

    def stop(self) -> None:
        """Stop all gracefully; on the second call, immediately. Call it on the event loop only."""
        self.stopping = True
        for pipeline in self.pipelines:
            pipeline.stop()

    async def run(self, *, once: bool = False) -> Mapping[str, PipelineReport | Exception]:
        """Run until all pipelines have ended. See `Pipeline.run`.

        Args:
            once: Whether to end when every stream has caught up.

        Returns:
            The outcomes by the name of the pipeline.
        """
        outcomes = await asyncio.gather(*(self._guard(pipeline, once) for pipeline in self.pipelines))
        return {pipeline.name: outcome for pipeline, outcome in zip(self.pipelines, outcomes, strict=True)}

    async def _guard(self, pipeline: Pipeline, once: bool) -> PipelineReport | Exception:
        try:
            return await pipeline.run(once=once)
        except Exception as error:
            self._failed(pipeline.name, error)
            return error
