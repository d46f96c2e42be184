"""The few query conditions, expressions and stages that snapshots use, for servers of tests."""

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rigatoni_mongodb.testing.bson_order import order

_MISSING = object()
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda one, other: one > other,
    "$gte": lambda one, other: one >= other,
    "$lt": lambda one, other: one < other,
}


def matches(document: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    """Return whether a document matches a query."""
    return all(_matches(document, name, wanted) for name, wanted in condition.items())


def _matches(document: Mapping[str, Any], name: str, wanted: Any) -> bool:
    if name == "$and":
        return all(matches(document, each) for each in wanted)
    if name == "$or":
        return any(matches(document, each) for each in wanted)
    if name == "$expr":
        return bool(evaluate(wanted, document))
    value = value_at(document, name)
    if isinstance(wanted, Mapping) and any(key.startswith("$") for key in wanted):
        wanted = dict(wanted)
        among = [wanted.pop("$eq")] if "$eq" in wanted else wanted.pop("$in")
        assert not wanted, f"an unknown condition: {wanted}"
        return value is not _MISSING and order(value) in map(order, among)
    return value is not _MISSING and order(value) == order(wanted)


def evaluate(expression: Any, document: Mapping[str, Any]) -> Any:
    """Return the value of an aggregation expression."""
    if isinstance(expression, str) and expression.startswith("$"):
        return document if expression == "$$ROOT" else value_at(document, expression[1:])
    if not isinstance(expression, Mapping):
        return expression
    name = next(iter(expression), "")
    argument: Any = expression.get(name)
    if not name.startswith("$"):
        values = {key: evaluate(value, document) for key, value in expression.items()}
        return {key: value for key, value in values.items() if value is not _MISSING}
    match name:
        case "$literal":
            return argument
        case "$and":
            return all(evaluate(each, document) for each in argument)
        case "$setField":
            value = evaluate(argument["value"], document)
            name, into = evaluate(argument["field"], document), evaluate(argument["input"], document)
            return into if value is _MISSING else into | {name: value}
    one, other = (evaluate(each, document) for each in argument)
    return one is not _MISSING and _COMPARED[name](order(one), order(other))


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path."""
    value: Any = document
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return _MISSING
        value = value[name]
    return value


def run(stages: Iterable[Mapping[str, Any]], documents: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the documents that come out of a pipeline."""
    found = list(documents)
    for stage in stages:
        ((name, argument),) = stage.items()
        match name:
            case "$match":
                found = [each for each in found if matches(each, argument)]
            case "$sort":
                ((field, _),) = argument.items()
                found.sort(key=lambda each, field=field: order(each[field]))  # type: ignore[misc]
            case "$sample":
                found = random.Random(0).sample(found, min(argument["size"], len(found)))  # noqa: S311 (no secret)
            case "$project":
                found = [{key: each[key] for key in ("_id", *argument) if key in each} for each in found]
            case "$replaceWith":
                found = [evaluate(argument, each) for each in found]
            case "$set":
                found = [_with(each, argument) for each in found]
            case "$unset":
                for field in [argument] if isinstance(argument, str) else argument:
                    found = [_without(each, field.split(".")) for each in found]
            case _:
                raise ValueError(f"an unknown stage: {name}")
    return found


def _with(document: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return document | {name: evaluate(value, document) for name, value in fields.items()}


def _without(document: dict[str, Any], path: list[str]) -> dict[str, Any]:
    if len(path) == 1:
        return {name: value for name, value in document.items() if name != path[0]}
    if not isinstance(inner := document.get(path[0]), dict):
        return document
    return document | {path[0]: _without(inner, path[1:])}
