"""Creates the boto client that all streams share, from credentials, endpoint and limits."""

from typing import Any

import attrs
import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, CredentialProvider, DeferredRefreshableCredentials
from rigatoni_core.api.options import Secret


@attrs.frozen(kw_only=True)
class Access:
    """The store's endpoint and credentials. Without keys, profile and role, boto's credential chain applies.

    The chain reads the environment, shared files, web identity, containers and instances (boto3 guide, "Credentials").
    """

    region: str | None = None
    endpoint_url: str | None = None
    path_style: bool | None = None
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    role_arn: str | None = None
    role_external_id: str | None = None
    role_session_name: str = "rigatoni"
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    connections: int = 16
    signed_payload: bool = True

    def client(self) -> Any:
        """Return a client of the S3 API. boto's own retries are off: only core retries, and counts attempts."""
        session = botocore.session.Session(profile=self.profile)
        if self.access_key_id and self.secret_access_key:
            token = self.session_token.reveal() if self.session_token else None
            session.set_credentials(self.access_key_id, self.secret_access_key.reveal(), token)
        if self.role_arn:
            session = self._with_role(session)
        return boto3.Session(botocore_session=session).client(
            "s3", region_name=self.region, endpoint_url=self.endpoint_url, config=self._config()
        )

    def _config(self) -> Config:
        styles = {True: "path", False: "virtual", None: "auto"}
        style: dict[str, Any] = {"addressing_style": styles[self.path_style]}
        if not self.signed_payload and not (self.endpoint_url or "https:").startswith("http:"):
            style["payload_signing_enabled"] = False  # TLS and the checksum suffice; a second hash costs time
        return Config(
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=self.connections,
            tcp_keepalive=True,
            s3=style,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent_extra="rigatoni",
        )

    def _with_role(self, source: Any) -> Any:
        """Return a session that assumes the role and renews its credentials."""
        arguments = {"RoleSessionName": self.role_session_name}
        if self.role_external_id:
            arguments["ExternalId"] = self.role_external_id
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=source.create_client,
            source_credentials=source.get_credentials(),
            role_arn=self.role_arn,
            extra_args=arguments,
        )
        session = botocore.session.Session(profile=self.profile)
        session.get_component("credential_provider").providers.insert(0, _Role(fetcher))
        return session


class _Role(CredentialProvider):  # type: ignore[misc]
    METHOD = "rigatoni-role"

    def __init__(self, fetcher: AssumeRoleCredentialFetcher) -> None:
        super().__init__()
        self._fetcher = fetcher

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(self._fetcher.fetch_credentials, self.METHOD)
