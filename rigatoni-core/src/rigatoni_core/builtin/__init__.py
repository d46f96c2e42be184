"""What comes with core, as an ordinary plugin: the state store "memory" and the destination "stdout"."""
