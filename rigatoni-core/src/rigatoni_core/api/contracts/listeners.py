"""The contract of listeners."""

from abc import ABC, abstractmethod

from rigatoni_core.api.notices import Notice


class Listener(ABC):
    """Receives notices, for logging, metrics or traces.

    A listener that opens resources (a port, an exporter) also derives from `AsyncResource`: the pipeline enters it
    first and closes it last. An error while it is entered stops the start, like any component's.
    """

    @abstractmethod
    def notify(self, notice: Notice) -> None:
        """Handle a notice. Called in order for each stream, on the event loop: must not block.

        An exception raised here is reported once, on stderr, and ignored.

        Args:
            notice: The notice.
        """
