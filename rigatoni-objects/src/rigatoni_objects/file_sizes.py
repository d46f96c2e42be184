"""A forecast of how many objects a pipeline writes, from the limits of its batches."""

from collections.abc import Sequence

from rigatoni_core.api.contracts import Finding
from rigatoni_core.api.settings import Settings

DAY = 86_400
MANY = 20_000
"""Objects of one stream in a day above which listings, queries and the requests of a bucket become expensive."""


async def forecast(settings: Settings, streams: int, partitioned: bool) -> Sequence[Finding]:
    """Return how many objects streams write that are never idle, but do not fill a batch either.

    Args:
        settings: The settings in force.
        streams: The number of streams.
        partitioned: Whether a batch may become several objects.
    """
    each = DAY / settings.batch_timeout
    figures = {"objects_per_day": each * streams}
    more = ", and one more for each further folder of a batch" if partitioned else ""
    seen = (
        f"a busy stream writes up to {each:,.0f} objects a day (batch_timeout = {settings.batch_timeout:g}){more}; "
        f"{each * streams:,.0f} for {streams} stream{'' if streams == 1 else 's'}. Full batches add to it"
    )
    if each <= MANY:
        return [Finding("ok", seen, figures=figures)]
    return [Finding("warning", seen, "Raise batch_timeout: readers prefer fewer and larger objects.", figures)]
