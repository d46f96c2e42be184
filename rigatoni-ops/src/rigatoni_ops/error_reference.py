"""What each error means and what to do about it, read from the classes of the installed distributions."""

import difflib
import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress

import attrs
from rigatoni_core.api.errors import AccessDenied, ConfigurationError, RigatoniError, Transient
from rigatoni_core.config import Catalog


@attrs.frozen
class Explanation:
    """One error: its id, the distribution that raises it, and the texts of its class."""

    id: str
    distribution: str
    meaning: str
    details: str
    remedy: str
    retry: str

    @classmethod
    def of(cls, error: type[RigatoniError]) -> "Explanation":
        """Return the explanation of a class of errors."""
        meaning, _, rest = inspect.cleandoc(error.__doc__ or "").partition("\n\n")
        return cls(
            id=error.id,
            distribution=error.__module__.partition(".")[0].replace("_", "-"),
            meaning=" ".join(meaning.split()),
            details=rest.partition("Args:")[0].strip(),
            remedy=error.default_remedy or "Follow the remedy that the message names.",
            retry=_retry(error),
        )

    def paragraphs(self) -> Iterator[str]:
        """Yield what people read, each part with an empty line before it."""
        yield f"{self.id} ({self.distribution}): {self.meaning}"
        if self.details:
            yield f"\n{self.details}"
        yield f"\nwhat to do: {self.remedy}\n{self.retry}"


def explanations(catalog: Catalog) -> dict[str, Explanation]:
    """Return what is known of each error by its id, in order.

    Args:
        catalog: The plugins whose errors are read, in the module `errors` of their package.
    """
    for plugin in catalog.plugins:
        if plugin.status == "ok":
            with suppress(ImportError):
                importlib.import_module(f"{plugin.distribution.replace('-', '_')}.errors")
    found = sorted(_below(RigatoniError), key=lambda error: error.id)
    return {error.id: Explanation.of(error) for error in found}


def explanation(known: dict[str, Explanation], name: str) -> Explanation:
    """Return the explanation of the error with this id; the name of its class is also accepted.

    Raises:
        ConfigurationError: No installed distribution has it. The message names the nearest id.
    """
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name.strip()).lower().removesuffix("-error")
    if spelled in known:
        return known[spelled]
    near = difflib.get_close_matches(spelled, known, n=1)
    raise ConfigurationError(
        f'no installed distribution has an error "{name}"{f"; did you mean {near[0]}?" if near else ""}',
        remedy="Run `rigatoni explain` to list all errors, or install the distribution that reported it.",
    )


def _below(base: type[RigatoniError]) -> Iterator[type[RigatoniError]]:
    """Yield the errors that derive from this one; only those of modules that are named for them."""
    for error in base.__subclasses__():
        if error.__module__.endswith(".errors"):
            yield error
        yield from _below(error)


def _retry(error: type[RigatoniError]) -> str:
    if issubclass(error, Transient):
        return "The operation is retried."
    if issubclass(error, AccessDenied):
        return "At the start, the worker stops. Later, it retries at its longest delay."
    return "The operation is not retried."
