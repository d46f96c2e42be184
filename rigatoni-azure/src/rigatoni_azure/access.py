"""Creates the container client that all streams share, from credentials, endpoint and limits."""

from typing import Any

import attrs
import requests
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential, TokenCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient
from requests.adapters import HTTPAdapter
from rigatoni_core.api.options import Secret

MAX_PUT = 5000 * 2**20
"""The maximum size of one Put Blob request in bytes (Put Blob, service version 2019-12-12 and later)."""


@attrs.frozen(kw_only=True)
class Access:
    """The endpoint and the credentials. Without a key, a token and a connection string, the default chain applies.

    The chain reads the environment, workload identity (AKS), managed identity, and the Azure CLI (azure-identity,
    "DefaultAzureCredential").
    """

    container: str
    account: str | None = None
    endpoint_url: str | None = None
    account_key: Secret | None = None
    sas_token: Secret | None = None
    connection_string: Secret | None = None
    managed_identity_client_id: str | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    connections: int = 16

    def client(self) -> ContainerClient:
        """Return a client of the container. Its own retries are off: only core retries, and counts attempts.

        Blobs are never uploaded in blocks: one Put Blob has one arbiter.
        """
        session = requests.Session()
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=self.connections, max_retries=0))
        options: dict[str, Any] = {
            "transport": RequestsTransport(session=session),
            "retry_total": 0,
            "connection_timeout": self.connect_timeout,
            "read_timeout": self.read_timeout,
            "max_single_put_size": MAX_PUT,
            "user_agent": "rigatoni",
        }
        if self.connection_string:
            return ContainerClient.from_connection_string(self.connection_string.reveal(), self.container, **options)
        url = self.endpoint_url or f"https://{self.account}.blob.core.windows.net"
        return ContainerClient(url, self.container, credential=self._credential(), **options)

    def _credential(self) -> AzureNamedKeyCredential | AzureSasCredential | TokenCredential:
        if self.account_key:
            return AzureNamedKeyCredential(self.account or "", self.account_key.reveal())
        if self.sas_token:
            return AzureSasCredential(self.sas_token.reveal())
        return DefaultAzureCredential(managed_identity_client_id=self.managed_identity_client_id)
