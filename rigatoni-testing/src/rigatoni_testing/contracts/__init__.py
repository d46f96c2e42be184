"""What each kind of component promises, as test suites: derive a class, give it one fixture, done.

    class TestAcme(DestinationContract):
        @pytest.fixture
        def place(self, tmp_path): ...

Each suite says in its docstring what its fixture is. A test that a suite brings can not be replaced: a plugin that
does not keep a promise says so by a failing test, never by a test that is not there.
"""

from rigatoni_testing.contracts.destination import DestinationContract, Place
from rigatoni_testing.contracts.lease import LeaseContract
from rigatoni_testing.contracts.listener import ListenerContract
from rigatoni_testing.contracts.objects import ObjectStoreContract
from rigatoni_testing.contracts.plugin import PluginContract
from rigatoni_testing.contracts.serializer import SerializerContract
from rigatoni_testing.contracts.source import Origin, SourceContract
from rigatoni_testing.contracts.state import StateStoreContract

__all__ = [
    "DestinationContract",
    "LeaseContract",
    "ListenerContract",
    "ObjectStoreContract",
    "Origin",
    "Place",
    "PluginContract",
    "SerializerContract",
    "SourceContract",
    "StateStoreContract",
]
