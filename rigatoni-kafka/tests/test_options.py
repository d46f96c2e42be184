"""Options: as they reach the client, and what is refused; errors of the client."""

import pytest
from confluent_kafka import KafkaError as ClientError
from rigatoni_core.api.errors import AccessDenied, LeaseLostError, Transient
from rigatoni_core.api.options import Secret
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_json.serializer import JsonSerializer
from rigatoni_kafka.destination import KafkaDestination
from rigatoni_kafka.errors import KafkaAccessError, KafkaError, KafkaTopicError, KafkaUnavailableError, error_of


def destination(**options):
    return KafkaDestination(**{"bootstrap_servers": "localhost:1", **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"client": {"sasl.password": "s"}}, "set sasl_password"),
        ({"client": {"enable.idempotence": "false"}}, "guarantee"),
        ({"sasl_username": "u"}, "set both"),
        ({"topic": "a b"}, "topic consists of"),
        ({"bootstrap_servers": ""}, "bootstrap_servers"),
        ({"partitions": 0}, "partitions"),
        ({"serializer": CsvSerializer()}, "single events"),
        ({"serializer": JsonSerializer(), "layout": "debezium"}, "layout debezium"),
    ],
)
def test_invalid_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        destination(**options)


def test_options_reach_the_client_under_its_names():
    made = destination(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="u",
        sasl_password=Secret("sentinel"),
        ssl_ca_location="/ca.pem",
        compression="lz4",
        client={"socket.keepalive.enable": "true"},
    )
    properties = made._cluster._common()
    assert properties["sasl.password"] == "sentinel"
    assert properties["security.protocol"] == "SASL_SSL"
    assert properties["ssl.ca.location"] == "/ca.pem"
    assert properties["socket.keepalive.enable"] == "true"
    assert made._cluster.producing["compression.type"] == "lz4"
    assert made._cluster.producing["partitioner"] == "murmur2_random"
    assert "sentinel" not in repr(made) + repr(made._cluster)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (ClientError._FENCED, LeaseLostError, ""),
        (ClientError.INVALID_PRODUCER_EPOCH, LeaseLostError, ""),
        (ClientError._AUTHENTICATION, KafkaAccessError, "sasl_mechanism"),
        (ClientError.TOPIC_AUTHORIZATION_FAILED, KafkaAccessError, "WRITE, READ and DESCRIBE on the topic"),
        (ClientError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, KafkaAccessError, "transactional id"),
        (ClientError.UNKNOWN_TOPIC_OR_PART, KafkaTopicError, "create_topics"),
        (ClientError.INVALID_TRANSACTION_TIMEOUT, KafkaError, "transaction.max.timeout.ms"),
        (ClientError._ALL_BROKERS_DOWN, KafkaUnavailableError, "bootstrap_servers"),
        (ClientError.NOT_ENOUGH_REPLICAS, KafkaUnavailableError, "Wait"),
    ],
)
def test_errors_name_what_to_change(code, kind, words):
    error = error_of(ClientError(code), "a transaction")
    assert type(error) is kind
    assert isinstance(error, Transient) == (kind is KafkaUnavailableError)
    assert isinstance(error, AccessDenied) == (kind is KafkaAccessError)
    assert words in error.remedy
