"""Finds objects that are missing although the record of a complete batch names them. Never writes.

A batch that is its own lead vanishes together with its record: only a comparison of documents can find its loss.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.executor import DaemonExecutor

from rigatoni_objects.chain import one_by_one
from rigatoni_objects.listing import PAGE, Listing, all_keys
from rigatoni_objects.paths import BATCHES, LEADS, STEM
from rigatoni_objects.store import ObjectStore

WIDTH = 8
"""Records that are read concurrently."""

_LEAD = re.compile(rf"(?:{LEADS}|{BATCHES})(\d+)/")
"""Matches the path of a separate lead, and the number of its definition."""


async def missing_objects(
    store: Callable[[str], ObjectStore], folder: str, delivered: Mapping[Stream, Position]
) -> Mapping[Stream, Sequence[str]]:
    """Return the names of the objects that are missing, without their folders, which may hold values of documents.

    The newest batch of a definition may be unfinished, so it counts only if its stream has delivered it.

    Args:
        store: Returns the objects below a folder; see `ObjectDestination.store`.
        folder: The folder of a pipeline.
        delivered: The positions that streams have reached.

    Raises:
        ForeignObjectError: A record is damaged.
    """
    lane, found = DaemonExecutor("rigatoni records", WIDTH), defaultdict[Stream, list[str]](list)
    try:
        present = await lane.run(lambda: frozenset(all_keys(store(folder), "")))
        for (name, _), leads in sorted(_leads(present).items()):
            where = f"{folder}/{name}/"
            listing = Listing(store(f"{folder}/{name}"), Stream(folder, name), where, one_by_one)
            of_lead = partial(_missing, listing, delivered, present, name)
            for start in range(0, len(leads), PAGE):
                page = leads[start : start + PAGE]
                calls = (lane.run(partial(of_lead, lead, newest=lead == leads[-1])) for lead in page)
                for stream, names in await asyncio.gather(*calls):
                    found[stream] += names
    finally:
        lane.close()
    return {stream: names for stream, names in found.items() if names}


def _leads(keys: Iterable[str]) -> Mapping[tuple[str, int], Sequence[str]]:
    """Return the separate leads by the stream's folder and the definition's number, oldest first."""
    found = defaultdict[tuple[str, int], list[tuple[str, str]]](list)
    for key in keys:
        folder, _, path = key.partition("/")
        if (lead := _LEAD.match(path)) and (match := STEM.search(path)):
            found[folder, int(lead[1])].append((match[1], path))
    return {chain: [path for _, path in sorted(leads)] for chain, leads in found.items()}


def _missing(
    listing: Listing,
    delivered: Mapping[Stream, Position],
    present: Collection[str],
    folder: str,
    lead: str,
    *,
    newest: bool,
) -> tuple[Stream, Sequence[str]]:
    """Return the stream of a batch and the names of its missing objects; none if it may be unfinished."""
    carried = listing.store.head(lead) if listing.store.metadata_limit else {}
    record = listing.read_record(lead, carried or {})
    stream = Stream(record.pipeline, record.stream)
    reached = delivered.get(stream)
    if newest and (reached is None or record.end.order > reached.order):
        return stream, ()
    missing = (part.path for part in record.parts if f"{folder}/{part.path}" not in present)
    # a batch may have been completed after its folder was listed
    return stream, [path.rpartition("/")[2] for path in missing if listing.store.head(path) is None]
