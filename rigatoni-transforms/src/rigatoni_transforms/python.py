"""The transform `python`: calls a function of the user for each event."""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from traceback import extract_tb
from typing import Annotated, Any

import attrs
import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from rigatoni_bson.decoded import decoded
from rigatoni_bson.elements import elements

from rigatoni_transforms.errors import PythonCallError, PythonFailedError, UnreadableEventError
from rigatoni_transforms.transform import RawTransform

Function = Callable[[dict[str, Any]], dict[str, Any] | None]

_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO, uuid_representation=UuidRepresentation.STANDARD
)
_POSITION = (b"_id", b"clusterTime", b"lsid", b"txnNumber", b"splitEvent")
_DOCUMENTS = (b"documentKey", b"fullDocument", b"fullDocumentBeforeChange")


def _check_version(instance: object, attribute: "attrs.Attribute[Any]", value: int) -> None:
    if value < 1:
        raise ValueError("must be a whole number from 1")


@attrs.define(kw_only=True, eq=False)
class PythonTransform(RawTransform):
    """Calls a function with each event, a dictionary as PyMongo decodes it.

    The function returns the event, or None to drop it. It may change the dictionary that it gets. An exception, a
    result that is no event, and a changed position or `_id` reject the event.
    """

    call: Annotated[str, "The function, such as `acme.rules:clean`: the name of a module, a colon, a name in it"]
    version: Annotated[
        int, "Part of the stream's definition: raise it if the function gives other events than before"
    ] = attrs.field(default=1, validator=_check_version)
    _function: Function = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._function = loaded(self.call)

    def raw(self, event: bytes) -> bytes | None:
        """See `RawTransform`."""
        document = decoded(event, _CODEC)
        if document is None:
            raise UnreadableEventError("the event holds values that Python cannot represent without a loss")
        try:
            result = self._function(document)
        except (Exception, SystemExit) as error:
            raise PythonFailedError(
                f"{self.call} raised {type(error).__name__}{_line(self._function, error)}"
            ) from error
        if result is None:
            return None
        if not isinstance(result, dict):
            raise PythonFailedError(f"{self.call} returned {type(result).__name__}, not a dictionary or None")
        try:
            after = bson.encode(result, codec_options=_CODEC)
        except Exception as error:
            raise PythonFailedError(
                f"{self.call} returned a dictionary that is no BSON: {type(error).__name__}"
            ) from None
        if after == event:
            return event
        self._check(event, after)
        return after

    def _check(self, event: bytes, after: bytes) -> None:
        """Refuse an event that is another one, or none."""
        before, now = dict(_identity(event)), dict(_identity(after))
        for name in before.keys() | now.keys():
            if name in before and name not in now and name.startswith("fullDocument"):
                continue  # the whole document may go
            if before.get(name) != now.get(name):
                raise PythonFailedError(f"{self.call} changed {name}")
        if not isinstance(bson.decode(after).get("operationType"), str):
            raise PythonFailedError(f"{self.call} returned an event without operationType")


def loaded(call: str) -> Function:
    """Import a function.

    Args:
        call: `package.module:function`.

    Raises:
        PythonCallError: It cannot be imported, or cannot be called with one event.
    """
    if not re.fullmatch(r"[\w.]+:[\w.]+", call):
        raise PythonCallError(f'call is "{call}"', remedy='Write it as "package.module:function".')
    module, _, path = call.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # the module may raise anything
        raise PythonCallError(f'the module "{module}" cannot be imported: {type(error).__name__}: {error}') from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise PythonCallError(f'the module "{module}" has no "{path}"')
        found = getattr(found, name)
    if not callable(found):
        raise PythonCallError(f"{call} is no function")
    if inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise PythonCallError(f"{call} is a coroutine or a generator", remedy="Make it an ordinary function.")
    try:
        inspect.signature(found).bind({})
    except TypeError:
        raise PythonCallError(f"{call} does not take one argument", remedy="Give it one argument: the event.") from None
    except ValueError:  # a function in C may not tell what it takes
        pass
    function: Function = found
    return function


def _identity(event: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what makes the event the event it is: its position, and the `_id` of its document."""
    for kind, key, value, after in elements(event):
        if key in _POSITION:
            yield key.decode(), event[value - len(key) - 2 : after]
        elif key in _DOCUMENTS and kind == 0x03:
            for inner, name, start, stop in elements(event, value):
                if name == b"_id":
                    yield f"{key.decode()}._id", bytes([inner]) + event[start:stop]


def _line(function: Function, error: BaseException) -> str:
    """The line of the function's file at which the error was raised; values of the event are in no line number."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    return f" in line {lines[-1]}" if lines else ""
