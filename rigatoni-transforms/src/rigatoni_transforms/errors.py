"""The errors of this distribution. Messages never quote a value of an event."""

from rigatoni_core.api.errors import ConfigurationError, RigatoniError


class PathError(ConfigurationError, ValueError):
    """A path that cannot be parsed, or that can never match."""

    default_remedy = 'Write a path such as address.street, lines.*.price, or "name with a dot".given.'


class UnreadableEventError(RigatoniError):
    """The bytes of an event cannot be read, so nothing can be said about its fields."""

    id = "unreadable-event"
    default_remedy = "Compare the event with the document in the database; on_rejected decides what becomes of it."


class ExpressionError(ConfigurationError, ValueError):
    """An expression that cannot be compiled, or whose value has another type than the option needs."""

    default_remedy = (
        "Expressions are CEL (cel.dev). They use operation, database, collection, document, before, key and update; "
        "see docs/transforms.md."
    )


class ExpressionFailedError(RigatoniError):
    """An expression fails on an event."""

    id = "expression-failed"
    default_remedy = (
        "Write the expression so that it has a value for every event: test for a field that may be missing, as in "
        'has(document.status) && document.status == "paid", or give a default, as in '
        'document.?status.orValue("").'
    )


class RouteError(RigatoniError):
    """An event for which no database or collection can be determined."""

    id = "route"
    default_remedy = (
        "Write the expression so that it has a value for every operation, for example by the key: deletes have no "
        "document, and updates only with a look-up."
    )


class PythonCallError(ConfigurationError, ValueError):
    """A function that cannot be imported, or cannot be called with an event."""

    default_remedy = "Install the module where Rigatoni runs, or add its folder to PYTHONPATH, and check the name."


class PythonFailedError(RigatoniError):
    """The user's function failed on an event, or returned something else than this event."""

    id = "python-failed"
    default_remedy = (
        "Fix the function and raise the transform's option version, then replay the dead letters. It returns the event "
        "that it got, changed, or None; the position and the _id of the document stay. `rigatoni test` calls it "
        "without servers."
    )


class MaskError(RigatoniError):
    """A mask cannot be applied to a value. The event is not written."""

    id = "mask-failed"
    default_remedy = (
        'Use a method that suits the values, such as "redact", which suits all; or set on_mask_error = "redact" in '
        "[pipeline] to quarantine such events without their content."
    )


class MaskedKeyError(ConfigurationError):
    """A path hits a field of the document key, which resume tokens contain."""

    id = "masked-key"
    default_remedy = (
        "Remove the path from the transform, or do not replicate the collection: records at the destination hold "
        "resume tokens, so they would hold the value."
    )


class FieldError(RigatoniError):
    """The fields of an event cannot be renamed, cast or flattened."""

    id = "field"
    default_remedy = (
        "Change the options of the transform so that the fields of all documents suit it, or correct the document, "
        "then replay the dead letters."
    )


class LossError(ValueError):
    """A value that another type cannot represent."""


class UnwrapError(RigatoniError):
    """An event that is no row."""

    id = "unwrap"
    default_remedy = (
        'Set full_document of the source to "updateLookup" or "required", so that updates carry their document, or '
        "drop these events with a filter before unwrap."
    )


class SchemaError(ConfigurationError, ValueError):
    """A schema that cannot be read."""

    default_remedy = 'Give a schema such as { required = ["total"], columns = { total = "decimal" } }.'


class SampleError(ConfigurationError):
    """A sample of documents that cannot be read."""

    default_remedy = "Give one document of Extended JSON a line, as mongoexport writes them."


class DeviationError(RigatoniError):
    """An event deviates from the schema of its collection."""

    id = "schema-deviation"
    default_remedy = (
        "Correct the document, or the schema in the transform, then replay the dead letters. To let such events pass, "
        'set the option for this kind of deviation to "evolve".'
    )


class SchemaStopError(ConfigurationError):
    """An event deviates from the schema of its collection, and the options say that the worker stops."""

    id = "schema-stop"
    default_remedy = "Correct the schema in the transform, or choose another action than stop, and restart."


class CaseError(ConfigurationError):
    """A file of cases, or a case in it, is wrong."""

    id = "case"
    default_remedy = "See docs/transforms.md for the cases of `rigatoni test`."
