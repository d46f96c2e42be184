"""The destination `azure`: blobs in a container of Azure Storage."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from threading import BoundedSemaphore
from typing import Annotated, Any, ClassVar, Literal, Self

import attrs
from attrs import validators
from azure.storage.blob import StandardBlobTier
from rigatoni_core.api.contracts import DestinationMetadata
from rigatoni_core.api.executor import SerialExecutor
from rigatoni_core.api.options import Secret
from rigatoni_objects.bucket_destination import BucketDestination
from rigatoni_objects.destination import COMMON_CONDITIONS
from rigatoni_objects.probing import FOLDER, probe

from rigatoni_azure.access import MAX_PUT, Access
from rigatoni_azure.container import Container, ContainerStore
from rigatoni_azure.errors import AzureAccessError, AzureError, AzureUnavailableError, translated


@attrs.define(kw_only=True)
class AzureDestination(BucketDestination):
    """Writes each batch as one blob (or one per folder) below `prefix`; see `rigatoni_objects.chain`."""

    container: Annotated[str, "The container; it must exist"] = attrs.field(validator=validators.min_len(1))
    account: Annotated[str, "The storage account; it determines the endpoint unless endpoint_url is set"] = attrs.field(
        validator=validators.min_len(1)
    )
    endpoint_url: Annotated[
        str | None, "Another endpoint, such as `https://lake.blob.core.chinacloudapi.cn`; default: the public cloud"
    ] = None
    account_key: Annotated[Secret | None, "A key of the account; default: the chain of azure-identity"] = None
    sas_token: Annotated[Secret | None, "A shared access signature, instead of account_key"] = None
    connection_string: Annotated[Secret | None, "A connection string, instead of the endpoint and account_key"] = None
    managed_identity_client_id: Annotated[
        str | None, "The client id of a user-assigned managed identity, for the default chain"
    ] = None
    access_tier: Annotated[
        Literal["Hot", "Cool", "Cold"] | None, "The access tier of every blob; default: that of the account"
    ] = None
    encryption_scope: Annotated[str | None, "The encryption scope of every blob; default: that of the container"] = None
    tags: Annotated[Mapping[str, str], "Index tags of every blob, at most 10; not with hierarchical namespaces"] = (
        attrs.field(factory=dict, validator=validators.max_len(10))
    )
    checksum_algorithm: Annotated[Literal["MD5", "none"], "The checksum for the store to verify"] = "MD5"
    _container: Container | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _opening: SerialExecutor = attrs.field(init=False, repr=False, eq=False)

    maximums: ClassVar[Mapping[str, float]] = {"batch_bytes": MAX_PUT}

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._opening = SerialExecutor(
            "rigatoni-azure",
            lambda seconds: AzureUnavailableError(f"{self.where('')} has not responded for {seconds:.0f} s"),
        )
        credentials = [name for name in ("account_key", "sas_token", "connection_string") if getattr(self, name)]
        if len(credentials) > 1:
            raise ValueError(f"{' and '.join(credentials)} are set: set one of them")

    async def __aenter__(self) -> Self:
        """Connect, and probe the store and the credentials. Raises an `AzureError` that names what is missing."""
        self._container = await self._opening.run(self._connect)
        return self

    async def close(self) -> None:
        """Stop the threads and close the connections."""
        await super().close()
        if self._container is not None:
            self._container.client.close()

    def store(self, folder: str) -> ContainerStore:
        """See `ObjectDestination`."""
        assert self._container is not None, "the destination was not entered"
        return ContainerStore(self._container, self.key_prefix(folder))

    def where(self, folder: str) -> str:
        """See `ObjectDestination`."""
        return f"azure://{self.container}/{self.key_prefix(folder)}"

    def metadata(self) -> DestinationMetadata:
        """Return the delivery guarantee and its conditions."""
        return DestinationMetadata(
            f"blobs *{self.serializer.suffix} below {self.where('')}{self.partitions}",
            self.delivery,
            (
                "objects and _rigatoni/ are kept longer than the oldest checkpoint that may be restored",
                "the account is written in one region: writes do not wait for geo-replication",
                *COMMON_CONDITIONS,
            ),
        )

    def _connect(self) -> Container:
        access = {field.name: getattr(self, field.name) for field in attrs.fields(Access) if hasattr(self, field.name)}
        try:
            client = Access(**access, connections=self.max_concurrent_uploads + 4).client()
        except ValueError as error:  # its text may quote a connection string
            raise AzureAccessError(
                f"the credentials for the container {self.container} are malformed",
                remedy="Copy the key, the token or the connection string again, completely.",
            ) from error.with_traceback(None)
        container = Container(
            client=client,
            name=self.container,
            permits=BoundedSemaphore(self.max_concurrent_uploads),
            extra=self._extra,
            starts=False,
        )
        prefix = self.key_prefix()
        try:
            probe(ContainerStore(container, prefix), self.where(""), lambda key: container.remove(f"{prefix}{key}"))
            return attrs.evolve(container, starts=_starts(container, f"{prefix}{FOLDER}{secrets.token_hex(8)}/"))
        except BaseException:
            client.close()
            raise

    @property
    def _extra(self) -> dict[str, Any]:
        """The arguments of every upload."""
        options: dict[str, Any] = {
            "standard_blob_tier": StandardBlobTier(self.access_tier) if self.access_tier else None,
            "encryption_scope": self.encryption_scope,
            "tags": dict(self.tags) or None,
            "validate_content": self.checksum_algorithm == "MD5" or None,
        }
        return {name: value for name, value in options.items() if value is not None}


def _starts(container: Container, folder: str) -> bool:
    """Return whether listings support `startFrom`: some stores ignore it, others refuse it or return nothing."""
    keys = [f"{folder}a/2", f"{folder}b/2"]
    for key in keys:
        container.create(key, b"", media_type="text/plain", metadata={})
    try:
        with translated(container.name, "List Blobs"):
            return [*container.client.list_blob_names(name_starts_with=folder, start_from=f"{folder}b/1")] == keys[1:]
    except AzureUnavailableError:
        raise
    except AzureError:
        return False
    finally:
        for key in keys:
            with suppress(AzureError):
                container.remove(key)
