"""TLS, certificates and passwords in the URI, on a real server; each error names the mistake and no secret."""

import subprocess
from contextlib import contextmanager

import pytest
import trustme
from pymongo import MongoClient
from rigatoni_core.api.options import Secret
from rigatoni_mongodb.errors import AuthenticationError, MongoDBConfigurationError, MongoDBUnavailableError
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_mongodb.testing.server import mongodb_server, server_program
from rigatoni_testing.servers import free_port


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "stranger.pem"))
    for name, certificate in {
        "server": authority.issue_cert("127.0.0.1", "localhost"),
        "client": authority.issue_cert("rigatoni"),
        "other-client": trustme.CA().issue_cert("rigatoni"),
    }.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    return folder


@pytest.fixture(scope="module")
def tls_server(authority, tmp_path_factory):
    """A server that accepts only TLS, and only clients with a certificate of the authority."""
    certificate = ["--tls-cert-file", str(authority / "server.pem"), "--tls-key-file", str(authority / "server.pem")]
    with server(tmp_path_factory.mktemp("mongodb-tls"), *certificate, "--tls-ca-file", str(authority / "ca.pem"),
                "--tls-require-client-cert") as port:  # fmt: skip
        yield port


@contextmanager
def server(folder, *options):
    port = free_port()
    command = [server_program(), "--port", str(port), "--storage-path", str(folder), *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def uri(port, folder, *, ca="ca", client="client", host="127.0.0.1"):
    options = {"tlsCAFile": folder / f"{ca}.pem", "tlsCertificateKeyFile": folder / f"{client}.pem"}
    spelled = "&".join(f"{name}={value}" for name, value in options.items())
    return f"mongodb://{host}:{port}/?tls=true&directConnection=true&serverSelectionTimeoutMS=15000&{spelled}"


async def test_tls_with_certificates_of_both_sides(tls_server, authority, read):
    with MongoClient(uri(tls_server, authority)) as client:
        client.drop_database("secure")
        source = MongoDBSource(uri=Secret(uri(tls_server, authority)), watch=["secure.orders"], max_await_time=0.2)
        async with source, read(source, "secure.orders") as reading:
            client.secure.orders.insert_one({"_id": 1})
            assert [event.document_key["_id"] for event in await reading.events(1)] == [1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ca": "stranger"}, "certificate verify failed"),
        ({"client": "other-client"}, "no reply"),  # the server closes the connection, sometimes without a reason
    ],
    ids=str,
)
async def test_K8_a_certificate_that_does_not_fit_is_said_in_words(tls_server, authority, wrong, message):
    address = uri(tls_server, authority, **wrong).replace("=15000", "=1500")
    with pytest.raises(MongoDBUnavailableError) as caught:
        await MongoDBSource(uri=Secret(address), watch=["secure.orders"]).__aenter__()
    assert message in str(caught.value).lower()
    assert str(tls_server) in str(caught.value)


async def test_K1_a_certificate_file_that_is_none_is_a_fault_of_the_configuration(authority):
    (authority / "odd.pem").write_text("no certificate")
    source = MongoDBSource(uri=Secret(uri(1, authority, client="odd")), watch=["a.b"])
    with pytest.raises(MongoDBConfigurationError, match="the MongoDB URI is invalid") as caught:
        await source.__aenter__()
    assert "tlsCertificateKeyFile" in caught.value.remedy


def test_K1_a_certificate_file_that_is_missing_is_said_when_the_configuration_is_read(authority):
    with pytest.raises(ValueError, match=r"tlscertificatekeyfile file is not readable|missing.*: No such file"):
        MongoDBSource(uri=Secret(uri(1, authority, client="missing")), watch=["a.b"])


async def test_K4_a_password_by_scram_and_a_wrong_one(tmp_path, read):
    folder = tmp_path / "data"
    folder.mkdir()
    with mongodb_server(folder, variable="RIGATONI_NO_SUCH") as plain, MongoClient(plain) as client:
        client.admin.command(
            "createUser", "rigatoni", pwd="sentinel", roles=[{"role": "readAnyDatabase", "db": "admin"}]
        )
        client.admin.command("createUser", "root", pwd="root", roles=["root"])
    with server(folder, "--auth") as port:
        right = f"mongodb://rigatoni:sentinel@127.0.0.1:{port}/?authSource=admin"
        with MongoClient(f"mongodb://root:root@127.0.0.1:{port}/?authSource=admin") as client:
            client.admin.command("ping")
            source = MongoDBSource(uri=Secret(right), watch=["shop.orders"], max_await_time=0.2)
            async with source, read(source, "shop.orders") as reading:
                client.shop.orders.insert_one({"_id": 1})
                assert len(await reading.events(1)) == 1
        wrong = right.replace("sentinel", "wrong-sentinel")
        with pytest.raises(AuthenticationError) as caught:
            await MongoDBSource(uri=Secret(wrong), watch=["shop.orders"]).__aenter__()
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "sentinel" not in f"{caught.value}{caught.value.remedy}"
