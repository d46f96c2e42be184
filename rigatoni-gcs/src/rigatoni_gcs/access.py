"""Creates the authorized session that all streams share, from credentials and endpoint."""

import json
from pathlib import Path

import attrs
import google.auth
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud.storage import Client
from google.oauth2 import service_account
from requests.adapters import HTTPAdapter
from rigatoni_core.api.options import Secret

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
"""The OAuth scope of all requests: objects, but not permissions or buckets."""
ENDPOINT = "https://storage.googleapis.com"


@attrs.frozen(kw_only=True)
class Access:
    """The endpoint and the credentials. Without a file or a key, Application Default Credentials apply.

    They come from `GOOGLE_APPLICATION_CREDENTIALS` (keys, workload identity federation), from `gcloud auth
    application-default login`, or from the metadata server of GKE, Cloud Run and Compute Engine (Google Cloud,
    "How Application Default Credentials works").
    """

    endpoint_url: str | None = None
    credentials_file: str | None = None
    credentials_json: Secret | None = None
    impersonate: str | None = None
    anonymous: bool = False
    scopes: tuple[str, ...] = (SCOPE,)
    connections: int = 16

    def session(self) -> AuthorizedSession:
        """Return a session with a pool of connections. It renews its token; only core retries requests."""
        session = AuthorizedSession(self._credentials())
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=self.connections, max_retries=0))
        return session

    def client(self, session: AuthorizedSession) -> Client:
        """Return a client of the JSON API that sends its requests through this session."""
        options = {"api_endpoint": self.endpoint_url} if self.endpoint_url else None
        return Client(project="", credentials=session.credentials, _http=session, client_options=options)

    def _credentials(self) -> Credentials:
        if self.anonymous:
            return AnonymousCredentials()
        credentials = self._own_credentials()
        if self.impersonate:
            return impersonated_credentials.Credentials(
                source_credentials=credentials, target_principal=self.impersonate, target_scopes=list(self.scopes)
            )
        return credentials

    def _own_credentials(self) -> Credentials:
        scopes = ["https://www.googleapis.com/auth/cloud-platform"] if self.impersonate else list(self.scopes)
        if not self.credentials_json and not self.credentials_file:
            return google.auth.default(scopes=scopes)[0]
        text = (
            self.credentials_json.reveal()
            if self.credentials_json
            else Path(self.credentials_file or "").read_text(encoding="utf-8")
        )
        key: Credentials = service_account.Credentials.from_service_account_info(json.loads(text), scopes=scopes)
        return key
