"""A Kafka broker of one node as a separate process; Maven fetches its jars once into the user's cache.

It needs Java 17 or later, and Maven the first time (54 MB). It is started as a program and has no internal limits that
matter to tests; durability against power failure is not tested.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from confluent_kafka.admin import AdminClient
from rigatoni_testing.servers import free_port, running, skip_without, wait_for

VERSION = "4.4.0"

_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version><dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
</dependency></dependencies></project>
"""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_CLUSTER = "4L6g3nShT-eMCtK--X86sw"
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
}


class KafkaServer:
    """A broker with its data in `folder`. A context manager; `restart` kills it and starts it again.

    Skips the test if Java or Maven is missing.
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port, controller = free_port(), free_port()
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self._log = folder / "kafka.log"
        self._properties = folder / "server.properties"
        plain = f"PLAINTEXT://{self.bootstrap_servers}"
        own = {
            "listeners": f"{plain},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": plain,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(folder / "data"),
        }
        lines = (f"{name}={value}" for name, value in {**_SETTINGS, **own, **(settings or {})}.items())
        self._properties.write_text("\n".join(lines), encoding="utf-8")
        self._stack = ExitStack()
        self._formatted = False

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stop(self) -> None:
        """Kill the broker."""
        self._stack.close()

    def restart(self) -> None:
        """Kill the broker and start it again with its data, at the same address."""
        self.stop()
        self._start()

    def admin(self) -> AdminClient:
        """Return a new client for topics."""
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def _start(self) -> None:
        java, jars = _java(), _jars()
        command = [java, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{jars}/*"]
        if not self._formatted:
            tool = [*command, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(self._properties)]
            subprocess.run(tool, check=True, capture_output=True, timeout=120)  # noqa: S603 (a fixed program)
            self._formatted = True
        program = running([*command, "kafka.Kafka", str(self._properties)], self._log)
        process = self._stack.enter_context(program)
        wait_for(lambda: self.admin().list_topics(timeout=2), process, self._log, seconds=120)


@contextmanager
def kafka_server(folder: Path, *, variable: str = "RIGATONI_TEST_KAFKA") -> Iterator[str]:
    """Yield the bootstrap servers of the environment's cluster, or of a broker with its data in `folder`."""
    if servers := os.environ.get(variable):
        yield servers
        return
    with KafkaServer(folder) as server:
        yield server.bootstrap_servers


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        skip_without("java", "install Java 17 or later, which runs the Kafka broker")
    return java


def _jars() -> Path:
    """Return the folder of the broker's jars; fetch them once for all runs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rigatoni-tests" / f"kafka-{VERSION}"
    if not cache.exists():
        maven = shutil.which("mvn")
        if maven is None:
            skip_without("mvn", "install Maven, which fetches the Kafka broker")
        temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
        temporary.mkdir(parents=True)
        (temporary / "pom.xml").write_text(_POM, encoding="utf-8")
        fetch = [maven, "-q", "-B", "-f", str(temporary), _COPY, "-DincludeScope=runtime", "-DoutputDirectory=."]
        subprocess.run(fetch, check=True, timeout=600)  # noqa: S603 (a fixed package)
        try:
            temporary.rename(cache)
        except OSError:  # another process was faster
            shutil.rmtree(temporary)
    return cache
