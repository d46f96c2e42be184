"""A foreign plugin whose destination has the name of one of ours."""

from rigatoni_core.api.hookspecs import Component, hookimpl


def load():
    from rigatoni_core.builtin.stdout import StdoutDestination

    return StdoutDestination


@hookimpl
def rigatoni_destinations():
    yield Component("local", load, summary="Another one")
