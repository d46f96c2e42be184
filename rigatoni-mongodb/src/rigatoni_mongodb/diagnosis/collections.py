"""The watched collections: kinds that have no change stream, images that are not recorded, the cost of look-ups."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from pymongo.errors import OperationFailure
from rigatoni_core.api.contracts import Finding

from rigatoni_mongodb.diagnosis.examined import Examined, refused
from rigatoni_mongodb.scope import Watch

GRANT = 'Grant a role: db.getSiblingDB("admin").grantRolesToUser("USER", [{{role: "read", db: "{database}"}}]).'
MOST_NAMED = 5
"""Collections that one finding names."""


async def kinds(examined: Examined) -> Sequence[Finding]:
    """Report watched views and time series, which have no change stream, and capped collections by name."""
    return [finding async for finding in _kinds(examined)]


async def _kinds(examined: Examined) -> AsyncIterator[Finding]:
    for watch in examined.watches:
        listed = await _listed(examined, watch)
        if isinstance(listed, Finding):
            yield listed
            continue
        kinds_of = {str(each["name"]): _kind(each) for each in listed}
        series = sorted(name for name, kind in kinds_of.items() if kind == "time series")
        views = sorted(name for name, kind in kinds_of.items() if kind == "view")
        capped = sorted(name for name, kind in kinds_of.items() if kind == "capped")
        if watch.collection is not None and (series or views):
            what = "time series collection" if series else "view"
            yield Finding(
                "error",
                f"{watch.name} is a {what}, which has no change stream",
                f'Remove it from watch. Watch the collections that are written instead, or "{watch.database}.*".',
            )
            continue
        if series:
            remedy = "Export them by other means, or write to ordinary collections."
            yield Finding("warning", f"{watch.name}: time series have no change events: {_names(series)}", remedy)
        if not series:
            plain = len(listed) - len(views)
            words = f"{plain} collection{'' if plain == 1 else 's'}, each with change events" if plain else "none yet"
            snapshots = f"; capped, so snapshots read them under the window rule: {_names(capped)}"
            yield Finding("ok", f"{watch.name}: {words}{snapshots if capped and examined.takes_snapshots else ''}")


async def images(examined: Examined) -> Sequence[Finding]:
    """Report collections without the images that the configuration wants where they exist."""
    wanted = [
        f'{option} = "{value}"'
        for option in ("full_document", "full_document_before_change")
        if (value := getattr(examined, option)) == "whenAvailable"
    ]
    if not wanted:
        return []
    found: list[Finding] = []
    for watch in examined.watches:
        listed = await _listed(examined, watch)
        if isinstance(listed, Finding):
            found.append(listed)
            continue
        without = sorted(str(each["name"]) for each in listed if not _kind(each) and not _has_images(each))
        if without:
            command = f'db.runCommand({{collMod: "{without[0]}", changeStreamPreAndPostImages: {{enabled: true}}}})'
            seen = f"{watch.name}: {' and '.join(wanted)}, but these collections record no images: {_names(without)}"
            found.append(Finding("warning", seen, f"Enable them for each: {command}."))
        else:
            found.append(Finding("ok", f"{watch.name}: every collection records images"))
    return found


async def look_ups(examined: Examined) -> Sequence[Finding]:
    """Report how many look-ups `updateLookup` costs."""
    if examined.full_document != "updateLookup":
        return []
    status = await examined.command("serverStatus")
    if isinstance(status, OperationFailure):
        remedy = 'Grant a role: db.getSiblingDB("admin").grantRolesToUser("USER", ["clusterMonitor"]).'
        return [refused("the number of updates", status, remedy)]
    rate = float(status.get("opcounters", {}).get("update", 0)) / max(float(status.get("uptime", 0)), 1)
    seen = f"updateLookup reads a document by _id for each update; the server has had {rate:,.1f} updates/s on average"
    return [Finding("ok", seen, figures={"updates_per_second": rate})]


async def _listed(examined: Examined, watch: Watch) -> list[Mapping[str, Any]] | Finding:
    """Return the collections of a scope as the server lists them, or why it does not."""
    if watch.database is None:
        return Finding(
            "not checked", f"{watch.name}: a stream of the whole deployment has too many databases to list", ""
        )
    options = {"filter": {"name": watch.collections}} if watch.collections else {}
    cursor = await examined.tried(examined.driver.client[watch.database].list_collections, **options)
    listed = cursor if isinstance(cursor, OperationFailure) else await examined.tried(cursor.to_list)
    if isinstance(listed, OperationFailure):
        return refused(f"{watch.name}: the list of collections", listed, GRANT.format(database=watch.database))
    return [each for each in listed if not str(each["name"]).startswith("system.")]


def _kind(description: Mapping[str, Any]) -> str:
    options = description.get("options", {})
    if description.get("type") == "timeseries" or "timeseries" in options:
        return "time series"
    if description.get("type") == "view":
        return "view"
    return "capped" if options.get("capped") else ""


def _has_images(description: Mapping[str, Any]) -> bool:
    return bool(description.get("options", {}).get("changeStreamPreAndPostImages", {}).get("enabled"))


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
