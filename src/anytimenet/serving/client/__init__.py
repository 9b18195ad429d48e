"""Clients of `anytimenet serve`, for threads and for asyncio; the way to the server counts in deadlines."""

from anytimenet.serving.client.answers import Answer as Answer
from anytimenet.serving.client.answers import ServerError as ServerError
from anytimenet.serving.client.clients import AsyncClient as AsyncClient
from anytimenet.serving.client.clients import Client as Client

__all__ = ["Answer", "AsyncClient", "Client", "ServerError"]
