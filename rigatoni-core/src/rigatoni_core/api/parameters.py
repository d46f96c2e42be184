"""Types of options on the command line, for commands."""

from typing import Any

import click


class Duration(click.FloatRange):
    """A duration in seconds: a number, or text such as `"2 min"`. Takes the arguments of `click.FloatRange`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert the text to seconds, for click.

        Args:
            value: The text, or a number.
            param: The option.
            ctx: The context of the command.

        Returns:
            The seconds.
        """
        from rigatoni_core.api.options import parse_duration  # attrs is too heavy for `rigatoni --help`

        try:
            return super().convert(parse_duration(str(value)), param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)
