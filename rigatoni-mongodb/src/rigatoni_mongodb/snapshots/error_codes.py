"""The server's error codes by their meaning for a snapshot (tried on MongoDB 5.0.7 and 7.1)."""

SNAPSHOT = {
    239,  # SnapshotTooOld: the time has left the history that the server keeps
    246,  # SnapshotUnavailable: the collection was created or renamed after it
}
"""The server cannot read at this time, but at a later one."""

INTERRUPTED = {
    50,  # MaxTimeMSExpired: such as on a secondary that has not reached the time yet
    175,  # QueryPlanKilled: the collection was dropped or renamed
    43,  # CursorNotFound
    237,  # CursorKilled
}
"""The read was interrupted, and may work at another time."""

UNSUPPORTED = {
    72,  # InvalidOptions: reads at a time need MongoDB 5.0; also for a time after the server's
    40415,  # an unknown field
    9,  # FailedToParse
}
"""The server cannot read at a cluster time."""

CONVERSION = 241
"""A value cannot be converted, such as by `$toInt` in a filter."""

LOCATIONS = 10_000
"""From here on, codes name a place in the server's source: most are expressions that cannot be evaluated."""

EMPTY_RANGE = 51175
"""`min` is not below `max`."""
