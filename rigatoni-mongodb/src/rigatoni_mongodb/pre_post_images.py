"""Whether the images that a stream requires are recorded at all: the server only says so at the first change."""

from pymongo.errors import OperationFailure

from rigatoni_mongodb.driver import Driver
from rigatoni_mongodb.errors import ImageMissingError
from rigatoni_mongodb.scope import Watch


async def without_images(driver: Driver, watch: Watch) -> list[ImageMissingError]:
    """An error for each watched collection that exists and records no pre- and post-images.

    Empty where the user may not list collections. The deployment is not looked through.
    """
    if watch.database is None:
        return []
    wanted = {"type": "collection"} | ({"name": watch.collections} if watch.collections else {})
    try:
        cursor = await driver.calls(driver.client[watch.database].list_collections, filter=wanted)
        collections = await driver.calls(cursor.to_list)
    except OperationFailure:
        return []
    return [
        ImageMissingError.of(watch.database, each["name"])
        for each in collections
        if not each["name"].startswith("system.")
        and not each.get("options", {}).get("changeStreamPreAndPostImages", {}).get("enabled")
    ]
