"""Topics: their names, and whether they exist."""

import re
from collections.abc import Mapping

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic
from rigatoni_core.api.events import Namespace, Stream

from rigatoni_kafka.errors import Code, KafkaError, KafkaTopicError, error_of, translated

MAX_NAME = 249
"""The maximum length of a topic's name (Kafka's class `Topic`)."""

_OTHER = re.compile(r"[^A-Za-z0-9._-]")


class TopicNames:
    """Names of topics from a template with `{database}` and `{collection}`.

    Raises ValueError for a template with other placeholders or characters.
    """

    def __init__(self, template: str) -> None:
        text = template.replace("{database}", "d").replace("{collection}", "c")
        if not text or _OTHER.search(text):
            raise ValueError(
                "topic consists of letters, digits, dots, hyphens, underscores, {database} and {collection}"
            )
        self._template = template
        self._known: dict[tuple[str, str], str] = {}

    def of(self, database: str | None, collection: str | None, stream: Stream) -> str:
        """Return the topic of a namespace; of a stream for events without a namespace.

        Other characters become `_` and their hexadecimal code. A name without a collection loses the separator.

        Raises:
            KafkaError: The name is too long.
        """
        if database is None:
            database, _, collection = stream.name.partition(".")
        found = self._known.get((database, collection or ""))
        if found is None:
            name = self._template.replace("{database}", _escaped(database))
            name = name.replace("{collection}", _escaped(collection or "")).strip("._-" if not collection else "")
            if len(name) > MAX_NAME:
                raise KafkaError(f"the topic {name[:60]}... has {len(name)} characters", remedy="Shorten topic.")
            found = self._known[database, collection or ""] = name
        return found


def _escaped(name: str) -> str:
    return _OTHER.sub(lambda match: "".join(f"_{byte:02x}" for byte in match[0].encode()), name)


def namespace_of(namespace: Namespace | None) -> tuple[str | None, str | None]:
    """Return a namespace as the arguments of `TopicNames.of`."""
    return (namespace.database, namespace.collection) if namespace else (None, None)


class Topics:
    """Checks that topics exist, and creates them if wished. Thread-safe.

    Args:
        admin: The client.
        create: Whether to create missing topics.
        partitions: Partitions of a new topic.
        replication: Its replication factor; -1: the brokers' default.
        config: Its configuration.
        timeout: Seconds to wait for a response.
    """

    def __init__(
        self,
        admin: AdminClient,
        *,
        create: bool,
        partitions: int,
        replication: int,
        config: Mapping[str, str],
        timeout: float,
    ) -> None:
        self._admin = admin
        self._create = create
        self._partitions = partitions
        self._replication = replication
        self._config = dict(config)
        self._timeout = timeout
        self._known: dict[str, int] = {}

    def require(self, name: str) -> int:
        """Return the number of partitions of a topic that exists or was created. Asks the cluster once.

        Raises:
            KafkaTopicError: The topic does not exist and is not to be created.
            KafkaError: The cluster refuses the request.
        """
        if name not in self._known:
            count = self.find(name)
            if count is None:
                if not self._create:
                    raise KafkaTopicError(
                        f"the topic {name} does not exist",
                        remedy=f"Create it (`kafka-topics --create --topic {name}`), or set create_topics = true.",
                    )
                self.add(NewTopic(name, self._partitions, self._replication, config=self._config))
                count = self._partitions
            self._known[name] = count
        return self._known[name]

    def find(self, name: str) -> int | None:
        """Return the number of partitions of a topic; None if it does not exist. Never creates one."""
        described = self._admin.describe_topics(TopicCollection([name]), request_timeout=self._timeout)[name]
        try:
            return len(described.result().partitions)
        except KafkaException as exception:
            if exception.args[0].code() == Code.UNKNOWN_TOPIC_OR_PART:
                return None
            raise error_of(exception.args[0], f"describing the topic {name}") from exception

    def add(self, topic: NewTopic) -> None:
        """Create a topic; does nothing if another instance has just created it."""
        (created,) = self._admin.create_topics([topic], operation_timeout=self._timeout).values()
        with translated(f"creating the topic {topic.topic}"):
            try:
                created.result()
            except KafkaException as exception:
                if exception.args[0].code() != Code.TOPIC_ALREADY_EXISTS:
                    raise
