"""What the server can and how it is: its kind and version, its clock, its members."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from pymongo.errors import OperationFailure
from rigatoni_core.api.contracts import Finding
from rigatoni_core.api.words import duration

from rigatoni_mongodb.diagnosis.examined import Examined, refused
from rigatoni_mongodb.features import parse_version

MAX_SKEW = 5.0
"""Seconds by which the clocks may differ: lags and ages are wrong by the difference."""

MAX_LAG = 10.0
"""Seconds by which a member may be behind."""

LACKING = (
    ((5, 0), "snapshots at a cluster time (they are read under the window rule)"),
    ((6, 0), "pre- and post-images, wall times and expanded events"),
    ((6, 0, 9), "the splitting of events above 16 MB, which stop a stream"),
)
"""What servers before these versions lack (MongoDB manual, "Change Streams", "Read Concern \"snapshot\"")."""

OLDEST = (4, 4)
MONITOR = 'Grant a role: db.getSiblingDB("admin").grantRolesToUser("USER", ["clusterMonitor"]).'

REFUSED_KINDS = {
    "FerretDB": ("FerretDB has no change streams", "Use MongoDB 4.4 or newer as the source."),
    "Cosmos DB": (
        "the change streams of Azure Cosmos DB (request units) have no deletes, and their pipelines are restricted",
        "Use MongoDB as the source: deletes would be silently lost.",
    ),
}
UNTRIED_KINDS = {
    "Amazon DocumentDB": "change streams are off until modifyChangeStreams enables them, and last 3 hours by default",
    "Azure DocumentDB": "its change streams differ from those of MongoDB",
}
_HOSTS = {
    ".docdb.amazonaws.com": "Amazon DocumentDB",
    ".mongo.cosmos.azure.com": "Cosmos DB",
    ".mongocluster.cosmos.azure.com": "Azure DocumentDB",
}


async def kind_and_version(examined: Examined) -> Sequence[Finding]:
    """Report which features this server lacks, and a server that only resembles MongoDB."""
    build = await examined.command("buildInfo")
    kind = kind_of(examined.hosts, {} if isinstance(build, OperationFailure) else build)
    if kind in REFUSED_KINDS:
        seen, remedy = REFUSED_KINDS[kind]
        return [Finding("error", seen, remedy)]
    if kind:
        remedy = f"Test the pipeline with a copy of your data: Rigatoni is not tested with {kind}."
        return [Finding("warning", f"the server is {kind}: {UNTRIED_KINDS[kind]}", remedy)]
    numbers = parse_version(examined.version)
    if not numbers:
        return [Finding("not checked", "the server does not report its version", "Compare it with docs/support.md.")]
    if numbers < OLDEST:
        seen = f"MongoDB {examined.version} is older than 4.4, the oldest supported version"
        return [Finding("error", seen, "Upgrade MongoDB.")]
    lacks = "; ".join(what for since, what in LACKING if numbers < since)
    return [Finding("ok", f"MongoDB {examined.version}{f', which lacks {lacks}' if lacks else ''}")]


def kind_of(hosts: str, build: dict[str, object]) -> str:
    """Return the name of a server that only resembles MongoDB, by its hosts and `buildInfo`; empty for MongoDB."""
    if "ferretdb" in build or "ferretdbVersion" in build:
        return "FerretDB"
    names = [host.rpartition(":")[0] or host for host in hosts.lower().split(",")]
    return next((kind for end, kind in _HOSTS.items() if any(name.endswith(end) for name in names)), "")


async def clock(examined: Examined) -> Sequence[Finding]:
    """Compare the clock of this host with the server's."""
    before = time.time()
    reply = await examined.command("hello")
    after = time.time()
    local = None if isinstance(reply, OperationFailure) else reply.get("localTime")
    if not isinstance(local, datetime):
        return [Finding("not checked", "the server does not report its time", "Compare both clocks with NTP.")]
    skew = (local if local.tzinfo else local.replace(tzinfo=UTC)).timestamp() - (before + after) / 2
    doubt = (after - before) / 2
    figures = {"skew_seconds": round(skew, 3)}
    if abs(skew) - doubt <= MAX_SKEW:
        return [Finding("ok", f"the clocks of this host and of MongoDB differ by {abs(skew):.1f} s", figures=figures)]
    side = "ahead of" if skew > 0 else "behind"
    seen = f"the clock of MongoDB is {duration(abs(skew))} {side} this host's: lags and ages are wrong by that"
    return [Finding("warning", seen, "Synchronize both hosts by NTP.", figures)]


async def members(examined: Examined) -> Sequence[Finding]:
    """Report members that are down or behind. Change streams only contain what a majority has confirmed."""
    if examined.is_sharded:
        remedy = "Run rs.status() on each shard."
        return [Finding("not checked", "the members of the shards are not visible through a mongos", remedy)]
    status = await examined.command("replSetGetStatus")
    if isinstance(status, OperationFailure):
        return [refused("the state of the members", status, MONITOR)]
    found = status.get("members", [])
    down = [str(each.get("name")) for each in found if not each.get("health", 1)]
    if down:
        seen = f"{len(down)} of {len(found)} members do not respond: {', '.join(down)}"
        return [Finding("warning", seen, "Repair them: without a majority of members no change is delivered.")]
    times = {str(each.get("name")): each["optimeDate"] for each in found if each.get("state") in (1, 2)}
    newest = max(times.values(), default=None)
    lags = {name: (newest - moment).total_seconds() for name, moment in times.items() if newest is not None}
    late = {name: lag for name, lag in lags.items() if lag > MAX_LAG}
    figures = {"lag_seconds": max(lags.values(), default=0.0)}
    if not late:
        count = "1 member" if len(found) == 1 else f"{len(found)} members"
        seen = f"{count}, at most {figures['lag_seconds']:.0f} s behind"
        return [Finding("ok", seen, figures=figures)]
    names = ", ".join(f"{name} by {duration(lag)}" for name, lag in late.items())
    effect = "streams may be read there" if examined.reads_secondaries else "changes wait for a majority of members"
    return [Finding("warning", f"members are behind: {names}; {effect}", "Repair their replication.", figures)]
