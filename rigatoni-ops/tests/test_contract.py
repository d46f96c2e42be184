"""The commands keep their contract as a plugin."""

from rigatoni_testing.contracts import PluginContract


class TestPlugin(PluginContract):
    distribution = "rigatoni-ops"
