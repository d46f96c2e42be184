"""Secrets: reading them, and removing them from texts."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rigatoni_core.api.options import Secret
from rigatoni_core.config.faults import KeyPath, Refused, nearest

_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:]*:([^\s/]+)@")
_PARAMETER = re.compile(r"[?&][^=&\s]*(?:password|secret|token|key)[^=&\s]*=([^&\s]+)", re.IGNORECASE)
_SHORTEST = 4  # a shorter one would match parts of ordinary words
_FORMS = 'write { env = "VARIABLE" }, { file = "path" } or a text'


class Redaction:
    """Replaces secrets in any text: `redaction(text)`. Its repr shows nothing."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def add(self, secret: str) -> None:
        """Hide this secret from now on. In a URI, hide only its secrets: messages may show hosts."""
        parts = _secret_parts(secret) if "://" in secret else [secret]
        for part in parts:
            for text in (part, unquote(part)):  # as it is, and as logs, JSON and reprs spell it
                forms = (text, repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
                self._secrets.update(form for form in forms if len(form) >= _SHORTEST)

    def __call__(self, text: str) -> str:
        """Return the text with `***` in place of every secret."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def read_secret(value: Any, redaction: Redaction, resolve: Callable[[str], Path]) -> Secret:
    """Return the secret that a TOML value describes; hidden from now on. Raises `Refused`, without its value.

    `resolve` makes the path of a secret's file absolute.
    """
    secret = _read(value, resolve)
    redaction.add(secret.reveal())
    return secret


def open_passwords(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield every URI in a document that contains a password, with its key path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from open_passwords(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from open_passwords(item, (*path, index))
    elif isinstance(value, str) and _secret_parts(value):
        yield path, value


def _secret_parts(uri: str) -> list[str]:
    return [match[1] for pattern in (_PASSWORD, _PARAMETER) for match in pattern.finditer(uri)]


def _read(value: Any, resolve: Callable[[str], Path]) -> Secret:
    if isinstance(value, str):
        return Secret(value, "the configuration")
    if not isinstance(value, dict):
        raise Refused(f"must be a secret: {_FORMS}")
    for key in value:
        if key not in ("env", "file"):
            raise Refused(f"unknown key{nearest(key, ('env', 'file'))}", key)
    if len(value) != 1:
        raise Refused(f"must be one secret: {_FORMS}")
    ((where, name),) = value.items()
    if not isinstance(name, str) or not name or "\0" in name:
        raise Refused(f"must be the name of {'an environment variable' if where == 'env' else 'a file'}")
    return _from_environment(name) if where == "env" else _from_file(resolve(name))


def _from_environment(name: str) -> Secret:
    text = os.environ.get(name)
    if not text:
        state = "is not set" if text is None else "is empty"
        raise Refused(f"the environment variable {name} {state}")
    return Secret(text, f"${name}")


def _from_file(path: Path) -> Secret:
    """Return a file's text without its final line break."""
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise Refused(f"the secret's file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Refused(f"the secret's file {path} is not UTF-8 text") from None
    if not text:
        raise Refused(f"the secret's file {path} is empty")
    return Secret(text, str(path))
