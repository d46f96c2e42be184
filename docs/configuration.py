"""The configuration reference: every key of a pipeline's file, read from the classes that the file becomes.

`docs/tables.py` writes the page. Only the examples are written here; tests validate each of them.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rigatoni_core.api.components import Kind
from rigatoni_core.api.settings import RetrySettings, SnapshotSettings
from rigatoni_core.config import Catalog, Option, PipelineTable, options_of

ROOT = Path(__file__).parent.parent
HEAD = """\
# Configuration

<!-- written by docs/tables.py -->

Every key of a pipeline's file: its type, default, an example and its meaning. Keys without a default are required.
`rigatoni plugins show NAME` prints the same for the installed version, and `rigatoni schema` writes a JSON Schema for
completion in editors. `--set destination.path=lake` sets a key for one call.

| type | how to write it |
|---|---|
| duration | `"500 ms"`, `"5 s"`, `"2 min"`, `"1.5 h"`, `"1 d"`, or a number of seconds |
| size | `"64 KiB"`, `"8 MiB"`, `"1 GB"`, or a number of bytes |
| secret | `{ env = "NAME" }`, `{ file = "path" }`, or text, which `validate` warns about |
| path | text; a relative path starts at the folder of the file |
| serializer, destination, … | a table with `type`, the name of a component, and its options |

A file holds one table `[pipeline]`, or several `[[pipeline]]`. The table `[defaults]` has the same keys and applies to
each of them. `allow` and `deny` in the table `[plugins]` are lists of distributions: only the allowed ones are
imported, and never the denied ones.
"""
KINDS: dict[Kind, str] = {
    "source": "Sources",
    "destination": "Destinations",
    "state": "State stores",
    "serializer": "Serializers",
    "transform": "Transforms",
    "listener": "Listeners",
}
WHERE = {
    "source": "[pipeline.source]",
    "destination": "[pipeline.destination]",
    "state": "[pipeline.state]",
    "serializer": "[pipeline.destination.serializer]",
    "transform": "[[pipeline.transforms]]",
    "listener": "[[pipeline.listeners]]",
}
EXAMPLES = {
    "access_key_id": '"AKIAEXAMPLE"',
    "access_tier": '"Cool"',
    "account": '"lake"',
    "account_key": '{ env = "AZURE_KEY" }',
    "acl": '"bucket-owner-full-control"',
    "bigquery_endpoint_url": '"https://bigquery.example.com"',
    "bootstrap_servers": '"kafka1:9092,kafka2:9092"',
    "bucket": '"lake"',
    "call": '"acme.rules:clean"',
    "catalog": '{ type = "rest", uri = "https://catalog.example.com" }',
    "client": '{ "socket.keepalive.enable" = "true" }',
    "collections": '["shop.orders"]',
    "comment": '"rigatoni"',
    "connection_string": '{ env = "AZURE_CONNECTION" }',
    "container": '"lake"',
    "credentials_file": '"key.json"',
    "credentials_json": '{ env = "GOOGLE_KEY" }',
    "dead_letters": '{ type = "local", path = "dead", serializer = { type = "json" } }',
    "dataset": '"lake"',
    "depth": "1",
    "destination": '{ type = "stdout", serializer = { type = "json" } }',
    "dsn": '{ env = "POSTGRES_DSN" }',
    "encryption_scope": '"lake"',
    "endpoint_url": '"https://minio:9000"',
    "exclude": '["password"]',
    "expression": "'operation != \"delete\"'",
    "fields": '{ total = "decimal" }',
    "folder_template": '"{database}/{collection}/{date}"',
    "impersonate": '"lake@project.iam.gserviceaccount.com"',
    "include": '["total", "address.zip"]',
    "inner": '{ type = "json" }',
    "key": '{ env = "MASK_KEY" }',
    "key_id": '"2026"',
    "kms_key_name": '"projects/p/locations/eu/keyRings/r/cryptoKeys/k"',
    "listeners": '[{ type = "prometheus" }]',
    "managed_identity_client_id": '"00000000-0000-0000-0000-000000000000"',
    "multipart_part_size": '"16 MiB"',
    "multipart_threshold": '"64 MiB"',
    "max_rate": '"20 MiB"',
    "name": '"orders-to-lake"',
    "namespace": '"shop"',
    "null": '"NULL"',
    "on_failure": '"stop"',
    "on_rejected": '"stop"',
    "partition_by": '["namespace", "day"]',
    "path": '"lake"',
    "path_style": "true",
    "pipeline": '[{ "$match" = { operationType = "insert" } }]',
    "prefix": '"lake/raw"',
    "profile": '"lake"',
    "project": '"shop-data"',
    "read_preference": '"secondaryPreferred"',
    "region": '"eu-central-1"',
    "retry": '{ max_retries = 5, max_retry_delay = "1 min" }',
    "role_arn": '"arn:aws:iam::123456789012:role/lake"',
    "role_external_id": '"42"',
    "sas_token": '{ env = "AZURE_SAS" }',
    "sasl_mechanism": '"SCRAM-SHA-512"',
    "sasl_oauthbearer_client_secret": '{ env = "KAFKA_CLIENT_SECRET" }',
    "sasl_password": '{ env = "KAFKA_PASSWORD" }',
    "sasl_username": '"rigatoni"',
    "schema": '"orders.schema.json"',
    "secret_access_key": '{ env = "AWS_SECRET_ACCESS_KEY" }',
    "sentinels": '{ env = "REDIS_SENTINELS" }',
    "serializer": '{ type = "json" }',
    "session_token": '{ env = "AWS_SESSION_TOKEN" }',
    "snapshot": '{ mode = "initial" }',
    "source": '{ type = "mongodb", uri = { env = "MONGODB_URI" }, watch = ["shop.*"] }',
    "sse": '"aws:kms"',
    "sse_kms_key_id": '"arn:aws:kms:eu-central-1:123456789012:key/k"',
    "ssl_ca_location": '"ca.pem"',
    "ssl_certificate_location": '"client.pem"',
    "ssl_key_location": '"client.key"',
    "ssl_key_password": '{ env = "KAFKA_KEY_PASSWORD" }',
    "state": '{ type = "file", path = "state" }',
    "storage_class": '"STANDARD_IA"',
    "storage_options": '{ AWS_REGION = "eu-central-1" }',
    "streams": '["shop.orders", "audit.*"]',
    "tags": '{ team = "shop" }',
    "topic_config": '{ "retention.ms" = "604800000" }',
    "transforms": '[{ type = "filter", expression = \'operation != "delete"\' }]',
    "uri": '{ env = "MONGODB_URI" }',
    "url": '{ env = "REDIS_URL" }',
    "user_project": '"billing"',
    "watch": '["shop.orders"]',
}
"""Examples of the keys whose default is none or empty; a component's own are below `kind.name.key`."""
EXAMPLES |= {
    "destination.bigquery.serializer": '{ type = "parquet" }',
    "destination.delta.path": '"s3://lake/raw"',
    "destination.gcs.storage_class": '"NEARLINE"',
    "destination.gcs.endpoint_url": '"https://storage.example.com"',
    "destination.azure.endpoint_url": '"https://lake.blob.core.chinacloudapi.cn"',
    "state.file.path": '"state"',
    "transform.cast.fields": '{ total = "decimal" }',
    "transform.mask.fields": '{ email = "redact" }',
    "transform.rename.fields": '{ "address.zip" = "postcode" }',
    "transform.route.collection": "'\"orders_\" + database'",
    "transform.route.database": "'database + \"_eu\"'",
    "transform.schema.collections": '{ "shop.orders" = { columns = { total = "decimal" } } }',
}
PIPE = r"\|"
NO_EXAMPLE = {"none", "[]", "{}", '""', "computed"}
TEST = "tests/test_configuration_reference.py::test_the_example_of_each_component_is_valid"
NEEDED = {
    "transform.select": ("include",),
    "transform.route": ("collection",),
    "destination.postgres": ("dsn",),
    "state.redis": ("url",),
}
"""Options of an example that have a default, but are needed together or alone."""


def example_of(option: Option, component: str = "") -> str:
    """Return an example of a value in TOML: one of the examples above, or the default."""
    if option.default is not None and option.default not in NO_EXAMPLE and option.type != "table":
        return option.default
    found = EXAMPLES.get(f"{component}.{option.name}", EXAMPLES.get(option.name))
    if found is None:
        raise KeyError(f"add an example of {component}.{option.name} to EXAMPLES in docs/configuration.py")
    return found


def listed(options: list[Option], component: str = "") -> Iterator[str]:
    """Yield the lines of the table of these options."""
    yield "| key | type | default | example | meaning |"
    yield "|---|---|---|---|---|"
    for option in sorted(options, key=lambda option: option.default is not None):
        cells = (
            f"`{option.name}`",
            option.type if '"' not in option.type else _choices(option.type),
            "required" if option.default is None else _default(option),
            f"`{example_of(option, component)}`",
            re.sub(r"(`[^`]*`)|\*", lambda match: match[1] or r"\*", option.meaning),
        )
        yield f"| {' | '.join(cell.replace('|', PIPE) for cell in cells)} |"


def components() -> Iterator[tuple[Kind, str, str, str, list[Option]]]:
    """Yield kind, name, distribution, summary and options of every component of this repository."""
    catalog = Catalog.discover()
    for kind in KINDS:
        for plugin, provided in sorted(catalog.provided(kind), key=lambda each: each[1].name):
            if (ROOT / plugin.distribution / "README.md").exists():
                cls: type[Any] = catalog.get(kind, f"{plugin.distribution}/{provided.name}")
                yield kind, provided.name, plugin.distribution, provided.summary, options_of(cls)


def example(kind: Kind, name: str, options: list[Option]) -> str:
    """Return the shortest table of this component that is valid."""
    component = f"{kind}.{name}"
    needed = NEEDED.get(component, ())
    keys = [
        f"{option.name} = {example_of(option, component)}"
        for option in options
        if option.default is None or option.name in needed
    ]
    if kind != "serializer":
        return "\n".join([WHERE[kind], f'type = "{name}"', *keys])
    inside = ", ".join([f'type = "{name}"', *keys])
    return f'[pipeline.destination]\ntype = "local"\npath = "lake"\nserializer = {{ {inside} }}'


def page() -> str:
    """Return the text of the page."""
    lines = [HEAD, "## The table `[pipeline]`", "", *listed(options_of(PipelineTable)), ""]
    for name, cls in (("retry", RetrySettings), ("snapshot", SnapshotSettings)):
        lines += [f"## The table `[pipeline.{name}]`", "", *listed(options_of(cls)), ""]
    last = None
    for kind, name, distribution, summary, options in components():
        if kind != last:
            lines += [f"## {KINDS[kind]}", "", f"Options of the table `{WHERE[kind]}`.", ""]
            last = kind
        source = f"From [{distribution}](../../{distribution}/README.md)."
        lines += [f"### {kind.capitalize()} {name}", "", f"{summary}. {source}", ""]
        lines += [f"<!-- run by: {TEST} -->\n```toml\n{example(kind, name, options)}\n```", ""]
        if options:
            lines += [*listed(options, f"{kind}.{name}"), ""]
    return "\n".join(lines)


def _default(option: Option) -> str:
    if option.type == "table" and option.default != "{}":
        return "its defaults"
    return "none" if option.default == "none" else f"`{option.default}`"


def _choices(words: str) -> str:
    """Return texts to choose from as code, such as "a" or "b"."""
    return ", ".join(f"`{each}`" if each.startswith('"') else each for each in words.split(" or "))
