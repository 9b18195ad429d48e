"""LitServe: one worker; its limit is how long a request may wait in the queue before it is answered 504."""

from __future__ import annotations

import base64
import logging
from typing import Any

import litserve
from answering import Answering, limit, port


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        logging.getLogger("litserve").setLevel(logging.CRITICAL)  # a line for each 504 would cost it time
        self.answer = Answering()

    def decode_request(self, request) -> bytes:  # type: ignore[no-untyped-def]  # it would be read as a query
        return base64.b64decode(request["image"])

    def predict(self, content: bytes) -> dict[str, Any]:
        return self.answer(content)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    logging.getLogger("litserve").setLevel(logging.CRITICAL)
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1, timeout=limit())
    server.run(
        host="127.0.0.1", port=port(), num_api_servers=1, log_level="critical", generate_client_file=False
    )
