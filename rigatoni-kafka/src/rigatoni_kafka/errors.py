"""The errors of Kafka, and the translation of the client's errors.

DestinationError
  KafkaError                   the cluster refuses a request, and retrying cannot fix it
    KafkaAccessError             credentials or permissions: the message names the resource
    KafkaTopicError              a topic does not exist
    KafkaUnavailableError        no broker, no leader, timeouts (transient)
EventTooLargeError             a message is larger than the topic accepts; its event is rejected
UnknownOperationError          the layout has no message for an event; it is rejected
"""

from collections.abc import Iterator
from contextlib import contextmanager

import confluent_kafka as client
from confluent_kafka import KafkaException
from rigatoni_core.api.errors import AccessDenied, DestinationError, LeaseLostError, RigatoniError, Transient

Code = client.KafkaError


class KafkaError(DestinationError):
    """The cluster refuses a request for a reason that has no class of its own."""

    id = "kafka"
    default_remedy = "Fix the cause in the broker's message, then restart: the pipeline resumes from its position."


class KafkaAccessError(KafkaError, AccessDenied):
    """The credentials are wrong, or lack a permission."""

    id = "kafka-access"


class KafkaTopicError(KafkaError):
    """A topic does not exist."""

    id = "kafka-topic"


class KafkaUnavailableError(KafkaError, Transient):
    """The cluster does not respond, or cannot serve the request at present."""

    id = "kafka-unavailable"
    default_remedy = (
        "Wait: the worker retries. If the error persists, check bootstrap_servers, the network, the brokers."
    )


class EventTooLargeError(RigatoniError):
    """A message is larger than its topic accepts."""

    id = "kafka-event-too-large"
    default_remedy = "Raise max.message.bytes of the topic, and max_message_bytes of the destination."


class UnknownOperationError(RigatoniError):
    """The layout has no message for an operation that this version does not know."""

    id = "kafka-unknown-operation"
    default_remedy = 'Use layout = "mongodb", or filter these events.'


FENCED = {Code._FENCED, Code.INVALID_PRODUCER_EPOCH, Code.PRODUCER_FENCED}
"""Codes of a producer whose transactional id belongs to a newer one."""

SECURITY = {Code._AUTHENTICATION, Code.SASL_AUTHENTICATION_FAILED, Code._SSL}
_DENIED = {
    Code.TOPIC_AUTHORIZATION_FAILED: "WRITE, READ and DESCRIBE on the topic",
    Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "WRITE and DESCRIBE on the transactional id `rigatoni.*`",
    Code.CLUSTER_AUTHORIZATION_FAILED: "IDEMPOTENT_WRITE on the cluster (brokers before 3.0), or CREATE for topics",
    Code.GROUP_AUTHORIZATION_FAILED: "READ on the group `rigatoni`",
}
_PERMANENT = {
    Code.INVALID_TRANSACTION_TIMEOUT: "Lower transaction_timeout to the brokers' transaction.max.timeout.ms.",
    Code.UNSUPPORTED_VERSION: "Upgrade the brokers: transactions need Kafka 0.11 or later.",
    Code.INVALID_CONFIG: "Correct topic_config.",
    Code.INVALID_REPLICATION_FACTOR: "Lower replication_factor to the number of brokers.",
    Code.INVALID_PARTITIONS: "Correct partitions.",
    Code.POLICY_VIOLATION: "Create the topic with settings that the cluster's policy permits.",
    Code.TOPIC_EXCEPTION: "Correct topic: a name has up to 249 letters, digits, dots, hyphens and underscores.",
    Code.UNSUPPORTED_COMPRESSION_TYPE: "Correct compression.",
}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate the client's errors in this block; `what` names the request in messages."""
    try:
        yield
    except KafkaException as exception:
        raise error_of(exception.args[0], what) from exception


def error_of(error: client.KafkaError, what: str) -> RigatoniError:
    """Return the error of Rigatoni for an error of the client."""
    code, text = error.code(), f"{what} failed: {error.name()} ({error.str()})"
    if code in FENCED:
        return LeaseLostError(f"{what} was refused: another instance has taken over the stream ({error.name()})")
    if code in SECURITY:
        return KafkaAccessError(
            text,
            remedy="Check security_protocol, sasl_mechanism, the user name and the password, and ssl_ca_location for "
            "TLS.",
        )
    if code in _DENIED:
        return KafkaAccessError(text, remedy=f"Grant {_DENIED[code]} to this user (`kafka-acls`).")
    if code in (Code.UNKNOWN_TOPIC_OR_PART, Code._UNKNOWN_TOPIC, Code._UNKNOWN_PARTITION):
        return KafkaTopicError(text, remedy="Create the topic, or set create_topics = true.")
    if code in _PERMANENT:
        return KafkaError(text, remedy=_PERMANENT[code])
    return KafkaUnavailableError(text)
