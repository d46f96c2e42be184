"""The transform `mask`: replaces values by something that tells less."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

import attrs
from attrs import validators
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.options import Secret

from rigatoni_transforms.matching import start_of
from rigatoni_transforms.methods import Method, rule_of
from rigatoni_transforms.privacy import Closure, PrivacyTransform, check_paths, paths_of_documents

_SHORTEST_KEY = 16
"""Characters; a shorter key can be found by trying all."""


def _check_rules(instance: object, attribute: "attrs.Attribute[Any]", value: Mapping[str, str]) -> None:
    if not value:
        raise ValueError('must name a field at least: fields = { email = "hash" }')
    methods = get_args(Method)
    for path, method in value.items():
        if method not in methods:
            raise ValueError(f'"{path}": "{method}" is not one of {", ".join(methods)}')
    check_paths(instance, attribute, value)


@attrs.define(kw_only=True, eq=False)
class MaskTransform(PrivacyTransform):
    """Replaces the values of `fields`, each by its method."""

    fields: Annotated[dict[str, Method], 'The method of each field by its path, such as `{ email = "hash" }`'] = (
        attrs.field(converter=dict, validator=_check_rules)
    )
    constant: Annotated[str, "What `redact` writes"] = "***"
    length: Annotated[int, "Characters that `truncate` keeps"] = attrs.field(default=3, validator=validators.ge(0))
    key: Annotated[Secret | None, "The key of `hash`, at least 16 characters; required with it"] = None
    key_id: Annotated[
        str, "A name of the key; change it together with the key. Part of the definition; required with `hash`"
    ] = ""

    def closure(self) -> Closure:
        """See `PrivacyTransform`."""
        secret = self.key.reveal() if self.key is not None else None
        if "hash" in self.fields.values():
            self._check_key(secret)
        rules = [
            (path, rule_of(self.fields[path.text], constant=self.constant, key=secret, length=self.length))
            for path in paths_of_documents(self.fields)
        ]
        return Closure(start_of(rules), keeps_others=True)

    def _check_key(self, secret: str | None) -> None:
        if secret is None:
            raise ConfigurationError(
                'key is missing: "hash" needs one',
                remedy='Make one with `openssl rand -hex 32`, and give key = { env = "VARIABLE" } and key_id.',
            )
        if len(secret) < _SHORTEST_KEY:
            raise ConfigurationError(
                f"key has fewer than {_SHORTEST_KEY} characters", remedy="Make one with `openssl rand -hex 32`."
            )
        if not self.key_id:
            raise ConfigurationError(
                'key_id is missing: "hash" needs one, so that another key begins another definition',
                remedy='Give the key a name, such as key_id = "2026-11".',
            )
