"""The command of the testing kit keeps the contract that the kit checks."""

from rigatoni_testing.contracts import PluginContract


class TestPlugin(PluginContract):
    distribution = "rigatoni-testing"
