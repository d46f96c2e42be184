"""The components of this project and the distribution that provides each.

Only these names are ever suggested for installation: a name made up from a typing error may belong to a stranger.
`tests/test_first_party.py` compares the list with the repository.
"""

from collections.abc import Mapping

DISTRIBUTIONS: Mapping[tuple[str, str], str] = {
    ("source", "mongodb"): "rigatoni-mongodb",
    ("destination", "azure"): "rigatoni-azure",
    ("destination", "bigquery"): "rigatoni-bigquery",
    ("destination", "delta"): "rigatoni-delta",
    ("destination", "gcs"): "rigatoni-gcs",
    ("destination", "iceberg"): "rigatoni-iceberg",
    ("destination", "kafka"): "rigatoni-kafka",
    ("destination", "local"): "rigatoni-local",
    ("destination", "postgres"): "rigatoni-postgres",
    ("destination", "s3"): "rigatoni-s3",
    ("destination", "stdout"): "rigatoni-core",
    ("state", "file"): "rigatoni-file-state",
    ("state", "memory"): "rigatoni-core",
    ("state", "redis"): "rigatoni-redis-state",
    ("serializer", "avro"): "rigatoni-avro",
    ("serializer", "csv"): "rigatoni-csv",
    ("serializer", "gzip"): "rigatoni-compression",
    ("serializer", "json"): "rigatoni-json",
    ("serializer", "parquet"): "rigatoni-parquet",
    ("serializer", "zstd"): "rigatoni-compression",
    ("transform", "cast"): "rigatoni-transforms",
    ("transform", "filter"): "rigatoni-transforms",
    ("transform", "flatten"): "rigatoni-transforms",
    ("transform", "mask"): "rigatoni-transforms",
    ("transform", "python"): "rigatoni-transforms",
    ("transform", "rename"): "rigatoni-transforms",
    ("transform", "route"): "rigatoni-transforms",
    ("transform", "schema"): "rigatoni-transforms",
    ("transform", "select"): "rigatoni-transforms",
    ("transform", "unwrap"): "rigatoni-transforms",
    ("command", "bigquery"): "rigatoni-bigquery",
    ("command", "dlq"): "rigatoni-ops",
    ("command", "explain"): "rigatoni-ops",
    ("command", "doctor"): "rigatoni-ops",
    ("command", "init"): "rigatoni-ops",
    ("command", "new-plugin"): "rigatoni-testing",
    ("command", "report"): "rigatoni-ops",
    ("command", "schema"): "rigatoni-ops",
    ("command", "schemas"): "rigatoni-transforms",
    ("command", "snapshot"): "rigatoni-ops",
    ("command", "supervise"): "rigatoni-ops",
    ("command", "tables"): "rigatoni-ops",
    ("command", "tail"): "rigatoni-ops",
    ("command", "test"): "rigatoni-transforms",
    ("command", "top"): "rigatoni-top",
    ("command", "verify"): "rigatoni-ops",
    ("listener", "otel"): "rigatoni-otel",
    ("listener", "prometheus"): "rigatoni-prometheus",
}
"""By kind and name of the component."""


def distribution_of(kind: str | None, name: str) -> str | None:
    """The distribution of this project that provides a component; None if none does. `kind` None means any kind."""
    kinds = [kind] if kind else [its_kind for its_kind, its_name in DISTRIBUTIONS if its_name == name]
    return next((DISTRIBUTIONS[each, name] for each in kinds if (each, name) in DISTRIBUTIONS), None)


def names(kind: str | None) -> list[str]:
    """The names of this project's components of one kind, or of all."""
    return sorted({name for its_kind, name in DISTRIBUTIONS if kind in (None, its_kind)})
