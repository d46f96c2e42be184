"""Shared parts of the contract suites: override protection, assertions and checks of errors."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

import attrs
import pytest
from rigatoni_core.api.contracts import ANY_FORMAT, FormatReader
from rigatoni_core.api.errors import RigatoniError, Transient
from rigatoni_core.api.options import Secret

from rigatoni_testing.batches import BSON, EventFormat, using
from rigatoni_testing.contracts.watching import no_io

LONGEST = 30.0
"""Seconds that one call to a component may take."""


class Obligations:
    """Base class of all suites. Rejects subclasses that override a contract test."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in [name for name in vars(cls) if name.startswith("test_")]:
            for base in cls.__mro__[1:]:
                if name in vars(base) and issubclass(base, Obligations):
                    raise TypeError(f"{cls.__name__}.{name} overrides a contract test of {base.__name__}: rename it")


class ObligationsOfReaders(Obligations):
    """Base of suites whose events have raw documents: set `format` for a component that reads another one than BSON."""

    format: ClassVar[EventFormat] = BSON

    @pytest.fixture(autouse=True)
    def _using_its_format(self) -> Iterator[None]:
        with using(self.format):
            yield

    def check_reader(self, reader: FormatReader) -> None:
        """It declares the formats that it reads, among them that of the suite's events."""
        name, accepted = type(reader).__name__, reader.accepts
        promised(
            isinstance(accepted, frozenset) and accepted and all(isinstance(each, str) and each for each in accepted),
            f"{name}.accepts is a frozenset of names of formats",
        )
        promised(
            {self.format.format, ANY_FORMAT} & accepted,
            f'{name} accepts "{self.format.format}", the format of the events of its suite (set `format` for another)',
        )


def promised(kept: object, promise: str) -> None:
    """Fails the test with the broken promise unless `kept` is true."""
    if not kept:
        broken(promise)


def broken(promise: str) -> NoReturn:
    """Fail a test with the promise that the component has broken."""
    raise AssertionError(f"the contract is broken: {promise}")


@contextmanager
def refused(kind: type[RigatoniError], promise: str, *, transient: bool | None = None) -> Iterator[None]:
    """Checks that the block raises this kind of error, with a message and a remedy."""
    try:
        yield
    except kind as error:
        check_error(error)
        if transient is not None and isinstance(error, Transient) != transient:
            wanted = "derive from Transient" if transient else "not derive from Transient"
            broken(f"{promise} ({type(error).__name__} must {wanted})")
        return
    except Exception as error:
        broken(f"{promise} (it raised {type(error).__name__}, not {kind.__name__})")
    broken(f"{promise} (nothing was raised)")


def check_error(error: RigatoniError) -> None:
    """Checks that an error has a message, a remedy and an id."""
    name = type(error).__name__
    promised(str(error).strip(), f"{name} says what happened")
    promised(error.remedy.strip(), f"{name} has a remedy (default_remedy, or remedy=...)")
    promised(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", error.id), f"the id of {name} is words-with-dashes")


async def bounded(call: Any, what: str) -> Any:
    """Returns the call's result; a call that hangs breaks the contract."""
    try:
        async with asyncio.timeout(LONGEST):
            return await call
    except TimeoutError:
        broken(f"{what} returns within {LONGEST:.0f} s")


def check_component(component: object) -> None:
    """Checks that a component is an attrs class whose repr shows no secret."""
    name = type(component).__name__
    promised(attrs.has(type(component)), f"{name} is an attrs class: its public fields are its options")
    for option, value in options_of(component):
        if isinstance(value, Secret) and value.reveal():
            for text in (repr(component), str(component)):
                promised(value.reveal() not in text, f"repr({name}) does not show the secret {option}")


def options_of(component: object) -> list[tuple[str, object]]:
    """Returns the component's options and their values."""
    cls: Any = type(component)
    return [(field.name, getattr(component, field.name, None)) for field in attrs.fields(cls)]


def check_constructor(make: Any) -> None:
    """Checks that a constructor does no I/O. The first call may import modules; the second is watched."""
    make()
    with no_io() as seen:
        component = make()
    promised(not seen, f"the constructor of {type(component).__name__} does no I/O, but did: {', '.join(seen)}")


asynchronous = pytest.mark.asyncio
"""Marks a suite's coroutines so that they run under any `asyncio_mode`."""
