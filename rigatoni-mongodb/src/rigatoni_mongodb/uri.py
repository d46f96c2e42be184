"""Checks the URI of a deployment without connecting, and extracts the parts that may be shown."""

import warnings
from collections.abc import Sequence
from urllib.parse import unquote

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

_SCHEMES = ("mongodb://", "mongodb+srv://")
_ESCAPE = (
    "the uri is invalid: its user name or password has a character that must be escaped: "
    "write : as %3A, / as %2F, ? as %3F, # as %23, [ as %5B, ] as %5D, @ as %40 and % as %25"
)


def check_uri(uri: str) -> None:
    """Validate the URI. Raises ValueError without quoting the URI, which may contain a password."""
    if not uri.startswith(_SCHEMES):
        scheme, found, _ = uri.partition("://")
        what = f"it starts with {scheme}://" if found else "it has no scheme"
        raise ValueError(f"the uri is not a MongoDB URI: {what}; write mongodb://host:27017/ or mongodb+srv://name/")
    if _is_unescaped(uri):
        raise ValueError(_ESCAPE)
    _parsed(uri)


def option_of(uri: str, name: str) -> str | None:
    """Return the value of an option in the URI, ignoring the case of its name; None if the URI does not set it."""
    for option in uri.partition("?")[2].replace(";", "&").split("&"):
        key, separator, value = option.partition("=")
        if separator and key.lower() == name.lower():
            return unquote(value)
    return None


def uri_advice(uri: str) -> Sequence[str]:
    """Return warnings about options that PyMongo does not know, or whose value it ignores."""
    if not _parsed(uri):
        return []
    options = [option for option in uri.partition("?")[2].split("&") if "=" in option]
    return [
        f'the uri: the driver ignores the option "{option.partition("=")[0]}": its name or value is unknown'
        for option in options
        if _is_ignored(option)
    ]


def hosts_of(uri: str) -> str:
    """Return the hosts of the URI, without user and password."""
    return uri.partition("://")[2].partition("/")[0].rpartition("@")[2]


def _authority(uri: str) -> str:
    """Return user, password and hosts."""
    return uri.partition("://")[2].partition("/")[0]


def _is_unescaped(uri: str) -> bool:
    """Return whether a character ends the credentials early.

    The driver would report the rest of the password as invalid, or connect to it.
    """
    credentials, separator, _ = _authority(uri).rpartition("@")
    if separator:
        return credentials.count(":") > 1 or any(character in credentials for character in "/?#[]@")
    return "@" in uri.partition("://")[2].partition("?")[0]


def _parsed(uri: str) -> list[str]:
    """Return the driver's warnings. A `mongodb+srv` URI is not checked, since that needs the network."""
    if not uri.startswith("mongodb://"):
        return []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            parse_uri(uri, warn=True)
    except OSError as error:  # a file that it names
        file = f'"{error.filename}": ' if error.filename else ""
        raise ValueError(f"the uri is invalid: {file}{error.strerror or error}") from None
    except (PyMongoError, ValueError, TypeError) as error:
        if "@" not in _authority(uri) and "@" in uri:
            raise ValueError(_ESCAPE) from None
        raise ValueError(f"the uri is invalid: {_without_secrets(str(error), uri)}") from None
    return [str(warning.message) for warning in caught]


def _is_ignored(option: str) -> bool:
    try:
        return bool(_parsed(f"mongodb://host/?{option}"))
    except ValueError:
        return False  # it needs a second option, so the driver knows it


def _without_secrets(text: str, uri: str) -> str:
    credentials = uri.partition("://")[2].rpartition("@")[0]
    for secret in (credentials, credentials.partition(":")[2]):
        for form in (secret, unquote(secret)):
            text = text.replace(form, "***") if form else text
    return text
