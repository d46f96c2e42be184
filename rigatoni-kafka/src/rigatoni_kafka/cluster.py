"""Clients of one cluster: their properties, from the options, and the errors that they report apart from requests."""

import logging
from collections.abc import Mapping
from typing import Any

import attrs
import confluent_kafka
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from rigatoni_core.api.options import Secret

from rigatoni_kafka.errors import SECURITY, KafkaUnavailableError, error_of

_LOG = logging.getLogger("rigatoni_kafka")

OWN = frozenset(
    {
        *("bootstrap.servers", "client.id", "transactional.id", "enable.idempotence", "acks", "isolation.level"),
        *("partitioner", "compression.type", "transaction.timeout.ms", "message.max.bytes", "group.id", "error_cb"),
        *("security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "ssl.ca.location"),
        *("ssl.certificate.location", "ssl.key.location", "delivery.report.only.error", "logger"),
    }
)
"""Properties that options set, or that the guarantee depends on."""
SECRETS = frozenset(
    {"sasl.password", "ssl.key.password", "ssl.key.pem", "ssl.keystore.password", "sasl.oauthbearer.client.secret"}
)
"""Properties that options hold as secrets."""


@attrs.frozen(kw_only=True)
class Cluster:
    """Makes clients of one cluster.

    Attributes:
        properties: Properties of all clients, by the names of librdkafka (its CONFIGURATION.md).
        producing: Further properties of producers.
        timeout: Seconds to wait for a response.
    """

    properties: Mapping[str, str | Secret] = attrs.field(repr=False)
    producing: Mapping[str, Any] = attrs.field(factory=dict)
    timeout: float = 60.0

    def producer(self, transactional_id: str, problems: "Problems") -> Producer:
        """Return a new producer, not connected yet."""
        own = {"transactional.id": transactional_id, "delivery.report.only.error": True, "error_cb": problems.note}
        return Producer({**self._common(), **self.producing, **own}, logger=_LOG)

    def consumer(self, further: Mapping[str, Any]) -> Consumer:
        """Return a new consumer that commits no offsets."""
        own = {"group.id": "rigatoni", "enable.auto.commit": False, **further}
        return Consumer({**self._common(), **own}, logger=_LOG)

    def admin(self, problems: "Problems") -> AdminClient:
        """Return a new client for topics."""
        settings: dict[str, Any] = {**self._common(), "error_cb": problems.note}
        return AdminClient(settings, logger=_LOG)

    def _common(self) -> dict[str, Any]:
        revealed = {
            name: value.reveal() if isinstance(value, Secret) else value for name, value in self.properties.items()
        }
        quiet = {"log_level": "0"}  # `Problems` reports what matters
        return {"client.id": "rigatoni", "reconnect.backoff.max.ms": "2000", **quiet, **revealed}


class Problems:
    """The last error that a client reported apart from requests, such as a refused login."""

    def __init__(self) -> None:
        self._last: confluent_kafka.KafkaError | None = None

    def note(self, error: confluent_kafka.KafkaError) -> None:
        """Note an error; called by the client."""
        self._last = error

    def check(self, what: str) -> None:
        """Raise if the client reported that its credentials are refused: waiting does not help."""
        if self._last is not None and self._last.code() in SECURITY:
            raise error_of(self._last, what)

    def unavailable(self, what: str, seconds: float) -> KafkaUnavailableError:
        """Return the error of a request that has taken too long, with what the client reported."""
        reported = f": {self._last.str()}" if self._last is not None else ""
        return KafkaUnavailableError(f"{what} made no progress for {seconds:.0f} s{reported}")
