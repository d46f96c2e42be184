"""Whether the images that a stream requires are recorded at all: the server only says so at the first change."""

from pymongo.errors import OperationFailure

from rigatoni_mongodb.catalog import collections_of
from rigatoni_mongodb.driver import Driver
from rigatoni_mongodb.errors import ImageMissingError
from rigatoni_mongodb.scope import Watch


async def without_images(driver: Driver, watch: Watch) -> list[ImageMissingError]:
    """An error for each watched collection that exists and records no pre- and post-images.

    Empty where the user may not list collections. The deployment is not looked through.
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
