"""Contract test suites for each kind of component: subclass one and provide one fixture.

    class TestAcme(DestinationContract):
        @pytest.fixture
        def place(self, tmp_path): ...

Each suite documents its fixture. A suite's tests cannot be overridden: a plugin that breaks the contract
fails a test instead of omitting it.
"""

from rigatoni_testing.contracts.destination import DestinationContract, Place
from rigatoni_testing.contracts.lease import LeaseContract
from rigatoni_testing.contracts.listener import ListenerContract
from rigatoni_testing.contracts.objects import ObjectStoreContract
from rigatoni_testing.contracts.plugin import PluginContract
from rigatoni_testing.contracts.serializer import SerializerContract
from rigatoni_testing.contracts.snapshots import CurrentPlace, CurrentSnapshotContract, SnapshotContract
from rigatoni_testing.contracts.source import Origin, SourceContract
from rigatoni_testing.contracts.state import StateStoreContract
from rigatoni_testing.contracts.transactional import TransactionalContract
from rigatoni_testing.contracts.transform import TransformContract

__all__ = [
    "CurrentPlace",
    "CurrentSnapshotContract",
    "DestinationContract",
    "LeaseContract",
    "ListenerContract",
    "ObjectStoreContract",
    "Origin",
    "Place",
    "PluginContract",
    "SerializerContract",
    "SnapshotContract",
    "SourceContract",
    "StateStoreContract",
    "TransactionalContract",
    "TransformContract",
]
