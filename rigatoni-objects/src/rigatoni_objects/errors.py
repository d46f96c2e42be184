"""What can go wrong with a stream's chain of batches, whatever the store.

DestinationError
  MissingDefinitionError     objects exist without the record that defines them
  UnfinishedBatchError       an old definition's last batch must be completed first (transient)
  KeyTooLongError            the layout may make keys that the store does not take
  DefinitionSettlingError    requests of the old definition may still be under way (transient)
  StoreConflictError         others were quicker again and again (transient)
"""

from rigatoni_core.api.errors import DestinationError, Transient


class MissingDefinitionError(DestinationError):
    id = "objects-missing-definition"
    default_remedy = (
        "Restore the definition-N.json files below _rigatoni/ from a backup or from the store's versions, and exempt "
        "_rigatoni/ from lifecycle rules. If they are lost, write into another folder, prefix or pipeline name."
    )


class UnfinishedBatchError(DestinationError, Transient):
    id = "objects-unfinished-batch"
    default_remedy = (
        "It is retried, since an instance with the old configuration may be about to complete the batch. If none is "
        "left, run once with the old configuration: it completes the batch and stops."
    )


class KeyTooLongError(DestinationError):
    id = "objects-key-too-long"
    default_remedy = "Shorten the prefix, the pipeline's name or folder_template."


class DefinitionSettlingError(DestinationError, Transient):
    id = "objects-definition-settling"
    default_remedy = "It is retried by itself. Set settle_time lower only where requests end sooner than that."


class StoreConflictError(DestinationError, Transient):
    id = "objects-conflict"
    default_remedy = "It is retried by itself. If it lasts, look for another program that writes below this prefix."
