"""The contracts of plugins: one small abstract class per kind of component, and one per optional interface.

A component is an attrs class whose public fields *are* its options. Its constructor only stores and validates;
`__aenter__` connects and `__aexit__` closes what was opened. Errors are translated into `rigatoni_core.api.errors`.
"""

from rigatoni_core.api.contracts.destinations import (
    BatchSplitter,
    Delivery,
    Destination,
    DestinationMetadata,
    PositionKeeper,
    Prefetching,
    ReadBack,
    RecordKeeper,
    StreamCloser,
    TransactionalKeeper,
)
from rigatoni_core.api.contracts.formats import ANY_FORMAT, FormatReader
from rigatoni_core.api.contracts.lifecycle import AsyncResource, ConfigLinter, Diagnosable, Finding, HealthCheck
from rigatoni_core.api.contracts.listeners import Listener
from rigatoni_core.api.contracts.serializers import Deserializer, EventSerializer, Piecewise, Serializer
from rigatoni_core.api.contracts.sources import IdentityRefresher, Positioner, Source, TimeReader
from rigatoni_core.api.contracts.states import Lease, LeaseKeeper, Membership, StateInspector, StateStore, StreamLister
from rigatoni_core.api.contracts.transforms import Reporter, StreamChecker, Transform

__all__ = [
    "ANY_FORMAT",
    "AsyncResource",
    "BatchSplitter",
    "ConfigLinter",
    "Delivery",
    "Deserializer",
    "Destination",
    "DestinationMetadata",
    "Diagnosable",
    "EventSerializer",
    "Finding",
    "FormatReader",
    "HealthCheck",
    "IdentityRefresher",
    "Lease",
    "LeaseKeeper",
    "Listener",
    "Membership",
    "Piecewise",
    "PositionKeeper",
    "Positioner",
    "Prefetching",
    "ReadBack",
    "RecordKeeper",
    "Reporter",
    "Serializer",
    "Source",
    "StateInspector",
    "StateStore",
    "StreamChecker",
    "StreamCloser",
    "StreamLister",
    "TimeReader",
    "TransactionalKeeper",
    "Transform",
]
