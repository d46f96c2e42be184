"""The command keeps its contract as a plugin."""

from rigatoni_testing.contracts import PluginContract


class TestPlugin(PluginContract):
    distribution = "rigatoni-top"
