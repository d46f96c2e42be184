"""Transforms that keep data from leaving the database: their place, and how records name them."""

import hashlib
from collections.abc import Sequence
from itertools import dropwhile

from rigatoni_core.api.components import component_name, described
from rigatoni_core.api.contracts import Transform
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.records import canonical

ORDER_REMEDY = "Move it before all transforms of other kinds, so that they and their errors see only what may leave."


def transform_record(transform: Transform, *, defaults: bool) -> dict[str, object]:
    """Return a transform as plain values without secrets, and without its scope.

    What it does to a stream does not depend on the other streams that it transforms.

    Args:
        transform: The transform.
        defaults: Whether to include options that are at their defaults.
    """
    record = described(transform, defaults=defaults) | {"version": transform.version}
    return {key: value for key, value in record.items() if key != "streams"}


def fingerprint(transform: Transform) -> str:
    """Return the identity of a transform for records. Transforms with another effect on events have another one.

    Args:
        transform: The transform.
    """
    return hashlib.sha256(canonical(transform_record(transform, defaults=False))).hexdigest()[:16]


def misplaced(transforms: Sequence[Transform]) -> Sequence[tuple[int, str]]:
    """Return the index of every protecting transform that stands after another kind, and the reason as a text.

    Args:
        transforms: The transforms of a pipeline, in order.
    """
    others = dropwhile(lambda each: each[1].protects, enumerate(transforms))
    return [
        (
            index,
            f'the transform "{component_name(type(transform))}" stands after '
            f'"{component_name(type(transforms[index - 1]))}", which would see and report what it hides',
        )
        for index, transform in others
        if transform.protects
    ]


def check_order(transforms: Sequence[Transform]) -> None:
    """Check that protecting transforms come first.

    Args:
        transforms: The transforms of a pipeline, in order.

    Raises:
        ConfigurationError: One does not. The message is about the first of `misplaced`.
    """
    for index, why in misplaced(transforms):
        raise ConfigurationError(f"transforms[{index}]: {why}", remedy=ORDER_REMEDY)
