"""The components of core, as an ordinary plugin: the state store "memory" and the destination "stdout"."""
