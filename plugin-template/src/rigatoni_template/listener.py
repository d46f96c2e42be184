"""The listener `template`: logs incidents."""

import logging
from typing import Annotated

import attrs
from rigatoni_core.api.contracts import Listener
from rigatoni_core.api.errors import error_id
from rigatoni_core.api.notices import GapRecorded, Notice, WorkerFailed, WorkerFailing

from rigatoni_template.errors import TemplateListenerError


@attrs.define(kw_only=True, eq=False)
class TemplateListener(Listener):
    """Logs a warning for each worker that fails, and for each gap."""

    logger: Annotated[str, "Name of the logger"] = attrs.field(default="rigatoni")

    @logger.validator
    def _named(self, _: "attrs.Attribute[str]", name: str) -> None:
        if not name:
            raise TemplateListenerError("the name of the logger is empty")

    def notify(self, notice: Notice) -> None:
        """Log the notice if it is an incident. Called on the event loop, so it must not block. See `Listener`."""
        if isinstance(notice, (WorkerFailing, WorkerFailed)):
            self._warn("%s: %s", notice.stream, error_id(notice.error))
        elif isinstance(notice, GapRecorded):
            self._warn("%s: changes are lost: %s", notice.stream, notice.gap.cause)

    def _warn(self, text: str, *values: object) -> None:
        logging.getLogger(self.logger).warning(text, *values)
