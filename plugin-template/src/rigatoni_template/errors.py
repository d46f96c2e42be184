"""Errors of this plugin, and the translation of foreign errors. `Transient` marks errors for which a retry may help."""

from collections.abc import Iterator
from contextlib import contextmanager

from rigatoni_core.api import errors

# --- destination


class TemplateError(errors.DestinationError, errors.Transient):
    """The folder cannot be written now."""

    id = "template"
    default_remedy = "Check the disk. Rigatoni retries the batch, and nothing is lost."


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate an OSError in this block to a `TemplateError`. `what` is a phrase that follows "cannot"."""
    try:
        yield
    except OSError as error:
        raise TemplateError(f"cannot {what}: {error.strerror or error}") from error


# --- source


class TemplateSourceError(errors.SourceError, errors.Transient):
    """The file cannot be read now."""

    id = "template-source"
    default_remedy = "Put the file where the option path points to. Rigatoni retries, and nothing is lost."


@contextmanager
def reading(path: object) -> Iterator[None]:
    """Translate an OSError in this block to a `TemplateSourceError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise TemplateSourceError(f"cannot read {path}: {error.strerror or error}") from error


# --- state


class TemplateStateError(errors.StateStoreError, errors.Transient):
    """The database cannot be used now."""

    id = "template-state"
    default_remedy = "Check whether the disk is full, or another program locks the database. Rigatoni retries."


@contextmanager
def using(path: object) -> Iterator[None]:
    """Translate an error of SQLite in this block to a `TemplateStateError` that names `path`."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise TemplateStateError(f"cannot use {path}: {error}") from error


# --- serializer


class TemplateUnreadableError(errors.RigatoniError):
    """An event's bytes cannot be read. The text contains no values of the document."""

    id = "template-unreadable"
    default_remedy = "Configure [pipeline.dead_letters], and inspect the event with `rigatoni dlq show`."


# --- transform


class TemplateUndecodableError(errors.RigatoniError):
    """An event's bytes cannot be read. The text contains no values of the document."""

    id = "template-undecodable"
    default_remedy = "Configure [pipeline.dead_letters], and inspect the event with `rigatoni dlq show`."


# --- listener


class TemplateListenerError(errors.ListenerError):
    """The listener cannot be opened."""

    id = "template-listener"
    default_remedy = "Set the option logger to the name of a logger."


# --- command


class TemplateCommandError(errors.RigatoniError):
    """The command failed; it exits with 3."""

    id = "template-command"
    default_remedy = "Check the file with `rigatoni validate`."
