"""Logs as JSON, an object a line: what was asked and what came of it, and nothing of what images show."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, TextIO

_FIELDS = "fields"


class JsonLines(logging.Formatter):
    """Each record as an object: time, level, logger, event, and the fields that it was given."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        found: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found, default=str)


def log_to(stream: TextIO = sys.stderr) -> None:
    """All logs go there, a line of JSON each: what happens here and in uvicorn, and warnings of others."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.getLogger().handlers = [handler]
    logging.captureWarnings(True)
    # It warns of every form that is damaged: that is told to who sent it.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    for name in ("anytimenet", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO)


def event(logger: logging.Logger, level: int, what: str, **fields: Any) -> None:
    """Logs `what` with fields."""
    logger.log(level, what, extra={_FIELDS: fields})
