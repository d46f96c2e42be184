"""The server versions that options need, to explain a refusal."""

import re
from collections.abc import Sequence

import attrs


@attrs.frozen
class Feature:
    """An option as the user wrote it, and the first versions of MongoDB that support it."""

    option: str
    since: str
    version: tuple[int, ...]


def features_of(
    *, full_document: str, full_document_before_change: str, show_expanded_events: bool, splits: bool
) -> list[Feature]:
    """List the options in use that need more than MongoDB 4.4 (MongoDB manual, "Change Events", "Change Streams")."""
    used = [
        (f'full_document = "{full_document}"', full_document in ("whenAvailable", "required"), "6.0", (6, 0)),
        (
            f'full_document_before_change = "{full_document_before_change}"',
            full_document_before_change != "off",
            "6.0",
            (6, 0),
        ),
        ("show_expanded_events = true", show_expanded_events, "6.0", (6, 0)),
        ("the stage $changeStreamSplitLargeEvent", splits, "6.0.9 or 7.0", (6, 0, 9)),
    ]
    return [Feature(option, since, version) for option, is_used, since, version in used if is_used]


def lacking(features: Sequence[Feature], version: str) -> list[Feature]:
    """Return the features that a server of this version lacks; none if the version is unknown."""
    numbers = parse_version(version)
    return [feature for feature in features if numbers and numbers < feature.version]


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version such as `5.0.7` or `7.1.0-alpha0`; empty if the text is not a version."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()
