"""Checks whether collections record the images that a stream requires: the server reports it only at a change."""

from pymongo.errors import OperationFailure

from rigatoni_mongodb.catalog import collections_of
from rigatoni_mongodb.driver import Driver
from rigatoni_mongodb.errors import ImageMissingError
from rigatoni_mongodb.scope import Watch


async def without_images(driver: Driver, watch: Watch) -> list[ImageMissingError]:
    """Return an error for each existing watched collection that records no pre- and post-images.

    Empty if the user may not list collections, and for a stream of the whole deployment, which is not checked.
    """
    if watch.database is None:
        return []
    try:
        collections = await collections_of(driver, watch.database, name=watch.collections) or []
    except OperationFailure:
        return []
    return [
        ImageMissingError.of(watch.database, name)
        for each in collections
        if not (name := str(each.namespace.collection)).startswith("system.")
        and not each.options.get("changeStreamPreAndPostImages", {}).get("enabled")
    ]
