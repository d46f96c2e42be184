"""Finds watched collections that do not exist. Such a stream is valid but silent, as is one with a mistyped name."""

import difflib
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from pymongo.errors import OperationFailure

from rigatoni_mongodb.driver import Driver
from rigatoni_mongodb.error_codes import UNAVAILABLE, is_resumable
from rigatoni_mongodb.scope import Watch

Listing = Callable[[str], Awaitable[Sequence[str] | None]]
"""Returns the names of a database's collections; None if the user may not list them."""


async def look_for_missing(driver: Driver, watches: Sequence[Watch]) -> tuple[str, ...]:
    """Return a warning for each watched name that matches no collection, as far as the user may list them.

    Raises:
        PyMongoError: The server is temporarily unavailable.
    """

    async def collections(database: str) -> Sequence[str] | None:
        listing = driver.client[database].list_collection_names
        names: Sequence[str] | None = await _readable(driver.calls(listing, authorizedCollections=True))
        return names

    async def databases() -> Sequence[str]:
        return await _readable(driver.calls(driver.client.list_database_names)) or ()

    return await missing_collections(watches, collections, databases)


async def missing_collections(
    watches: Sequence[Watch], collections: Listing, databases: Callable[[], Awaitable[Sequence[str]]]
) -> tuple[str, ...]:
    """Return a warning for each watched name that matches no collection, with the most similar existing name.

    Args:
        watches: The scopes of the streams.
        collections: Lists a database.
        databases: Lists the databases, for names that are mistyped before the dot.
    """
    texts = []
    listed: dict[str, Sequence[str] | None] = {}
    for watch in watches:
        if watch.database is None:
            continue
        if watch.database not in listed:
            listed[watch.database] = await collections(watch.database)
        names = listed[watch.database]
        if names is None or any(_fits(watch, name) for name in names):
            continue
        near = await _nearest(watch, names, collections, databases)
        hint = f'; did you mean "{near}"?' if near else "."
        texts.append(f'{_subject(watch)} exists{hint} Until one is created, the stream "{watch.name}" has no events')
    return tuple(texts)


async def _readable(response: Awaitable[Any]) -> Any:
    """Return the response; None if the user lacks the privilege."""
    try:
        return await response
    except OperationFailure as error:
        if is_resumable(error) or error.code in UNAVAILABLE:
            raise
        return None


def _fits(watch: Watch, name: str) -> bool:
    wanted = watch.collections
    if wanted is None or isinstance(wanted, str):
        return wanted in (None, name)
    return re.match(wanted["$regex"], name) is not None


def _subject(watch: Watch) -> str:
    if watch.collection is not None:
        return f'no collection "{watch.name}"'
    if watch.pattern is not None:
        return f'no collection that matches "{watch.name}"'
    return f'no collection in the database "{watch.database}"'


async def _nearest(
    watch: Watch, names: Sequence[str], collections: Listing, databases: Callable[[], Awaitable[Sequence[str]]]
) -> str | None:
    """Return the most similar name in the same database or, if that does not exist, in the most similar one."""
    wanted = watch.pattern or watch.collection or "*"
    if near := _close(wanted, names):
        return f"{watch.database}.{near}"
    if names:
        return None
    database = _close(watch.database or "", await databases())
    if database is None or watch.collection is None:
        return f"{database}.{wanted}" if database else None
    return f"{database}.{_close(watch.collection, await collections(database) or ()) or '*'}"


def _close(name: str, choices: Iterable[str]) -> str | None:
    """Return the most similar choice, ignoring case."""
    folded = {choice.casefold(): choice for choice in choices if not choice.startswith("system.")}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[near[0]] if near else None
