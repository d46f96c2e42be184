"""The errors of a stream's chain of batches, common to all stores.

DestinationError
  MissingDefinitionError     objects exist without the record that defines them
  UnfinishedBatchError       the last batch of an old definition is incomplete (transient)
  KeyTooLongError            the layout can produce keys that are too long for the store
  DefinitionSettlingError    requests under the old definition may still take effect (transient)
  StoreConflictError         other owners repeatedly won the race for an object (transient)
  StagedObjectGoneError      the content of an unfinished chunk of a snapshot was removed
"""

from rigatoni_core.api.errors import DestinationError, Transient


class MissingDefinitionError(DestinationError):
    """Objects exist without the definition that describes them."""

    id = "objects-missing-definition"
    default_remedy = (
        "Restore the definition-N.json files below _rigatoni/ from a backup or from the store's versions, and exempt "
        "_rigatoni/ from lifecycle rules. If they are lost, write into another folder, prefix or pipeline name."
    )


class UnfinishedBatchError(DestinationError, Transient):
    """A batch of an old definition is incomplete, and this configuration cannot complete it."""

    id = "objects-unfinished-batch"
    default_remedy = (
        "Wait: the worker retries, and an instance with the old configuration may complete the batch. If none is "
        "running, run once with the old configuration: it completes the batch and stops."
    )


class KeyTooLongError(DestinationError):
    """A key would be longer than the store allows."""

    id = "objects-key-too-long"
    default_remedy = "Shorten the prefix, the pipeline's name or folder_template."


class DefinitionSettlingError(DestinationError, Transient):
    """An old definition was closed a short time ago; its last requests may still arrive."""

    id = "objects-definition-settling"
    default_remedy = "Wait: the worker retries. Lower settle_time only if requests always end sooner than that."


class StoreConflictError(DestinationError, Transient):
    """Another program writes the same keys, or the store contradicts itself."""

    id = "objects-conflict"
    default_remedy = "Wait: the worker retries. If the error persists, find the other program that writes there."


class StagedObjectGoneError(DestinationError):
    """The content of an unfinished chunk of a snapshot was removed."""

    id = "objects-staged-gone"
    default_remedy = (
        "Restore the folder _rigatoni/staged from a backup or an earlier version. If that is impossible, cancel the "
        "snapshot and start another one. Nothing was overwritten."
    )
