"""What an answer to a request that is wrong may be, and how many of them there have been."""

from __future__ import annotations

import json
import os
from collections import Counter

import httpx

PROMISED = int(os.environ.get("ATTACK_REQUESTS", "0"))
"""Requests that `make attack` promises to have refused; 0 where only some are tried."""
EXAMPLES = 200 if PROMISED else 40
REFUSED = Counter[int]()
"""By status, in this process."""

REASONS = {
    *("bad_request", "bad_image", "not_found", "method_not_allowed", "timeout", "too_large", "overload"),
    *("unsupported_media_type", "client_limit", "expired", "forbidden_origin", "forbidden_host"),
}
LEAKS = ("Traceback", "site-packages", 'File "', "/src/", "/tmp", "anytimenet.serving", "0x7f")


def check(response: httpx.Response) -> None:
    """What every response is: an answer, or a reason in words of this server that tells nothing else."""
    count_if_refused(response.status_code)
    assert response.status_code != 500, response.text
    if response.status_code >= 400 and response.request.method != "HEAD":
        check_told(response.text)


def check_told(text: str) -> None:
    """The body of a refusal."""
    assert json.loads(text)["reason"] in REASONS, text
    assert not [leak for leak in LEAKS if leak in text], text


def count_if_refused(status: int) -> None:
    """Counts it."""
    if status >= 400:
        REFUSED[status] += 1
