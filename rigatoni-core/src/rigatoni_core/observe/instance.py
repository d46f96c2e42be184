"""The number of this process among the instances that one `rigatoni run` started.

Exporters that listen on a port add it to the port, so that instances with one configuration do not collide.
"""

_index = 0


def set_instance_index(index: int) -> None:
    """Note the number of this instance; called once, before components are made.

    Args:
        index: Counts from 0.
    """
    global _index  # noqa: PLW0603 (a fact about the process)
    _index = index


def instance_index() -> int:
    """Return the number of this instance, which counts from 0; 0 for a process that runs alone."""
    return _index
