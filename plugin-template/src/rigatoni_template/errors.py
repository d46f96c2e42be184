"""What can go wrong, and the translation of foreign errors. Whether trying again may help is said by `Transient`."""

from collections.abc import Iterator
from contextlib import contextmanager

from rigatoni_core.api import errors

# --- destination


class TemplateError(errors.DestinationError, errors.Transient):
    """The folder cannot be written at present."""

    id = "template"
    default_remedy = "Look after the disk: the batch is tried again, nothing of it is lost."


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Within this block an OSError becomes a `TemplateError`; `what` says in words what was tried."""
    try:
        yield
    except OSError as error:
        raise TemplateError(f"cannot {what}: {error.strerror or error}") from error


# --- source


class TemplateSourceError(errors.SourceError, errors.Transient):
    """The file cannot be read at present."""

    id = "template-source"
    default_remedy = "Put the file where the option path says: it is tried again, nothing is lost."


@contextmanager
def reading(path: object) -> Iterator[None]:
    """Within this block an OSError becomes a `TemplateSourceError`."""
    try:
        yield
    except OSError as error:
        raise TemplateSourceError(f"cannot read {path}: {error.strerror or error}") from error


# --- state


class TemplateStateError(errors.StateStoreError, errors.Transient):
    """The database cannot be used at present."""

    id = "template-state"
    default_remedy = "Look whether the disk is full, or another program locks the database: it is tried again."


@contextmanager
def asking(path: object) -> Iterator[None]:
    """Within this block an error of SQLite becomes a `TemplateStateError`."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise TemplateStateError(f"cannot use {path}: {error}") from error


# --- serializer


class TemplateUnreadableError(errors.RigatoniError):
    """An event's bytes cannot be read. The text holds no values of the document."""

    id = "template-unreadable"
    default_remedy = "Give the pipeline a place for dead letters, then look at the event there."


# --- transform


class TemplateUndecodableError(errors.RigatoniError):
    """An event's bytes cannot be read. The text holds no values of the document."""

    id = "template-undecodable"
    default_remedy = "Give the pipeline a place for dead letters, then look at the event there."


# --- listener


class TemplateListenerError(errors.ListenerError):
    """The listener cannot be opened."""

    id = "template-listener"
    default_remedy = "Name a logger in the option logger."


# --- command


class TemplateCommandError(errors.RigatoniError):
    """The command cannot do its work; it exits with 3."""

    id = "template-command"
    default_remedy = "Check the file with `rigatoni validate`."
