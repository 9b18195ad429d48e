"""Connections that h11 reads, the parser in Python: where the one in C is not installed."""

from __future__ import annotations

import asyncio
from typing import Any

from anytimenet.serving.http.delays import arrived_since
from anytimenet.serving.http.door import ARRIVED
from anytimenet.serving.http.leaving import LEAVING, Leaving


def read_by_h11(bounded: Any) -> type[asyncio.Protocol]:
    """The class of connections, from what all have in common.

    Args:
        bounded: uvicorn's protocol with h11, with its limits.
    """
    import h11

    class BoundedH11(bounded):  # type: ignore[misc]
        """Read by h11, which bounds the bytes of headers while they come: whole ones are counted here."""

        def __init__(self, config: Any, *more: Any, **named: Any) -> None:
            super().__init__(config, *more, **named)
            next_event, most_bytes = self.conn.next_event, config.h11_max_incomplete_event_size

            def counted() -> Any:
                event = next_event()
                if isinstance(event, h11.Request):
                    length = len(event.target) + sum(
                        len(name) + len(value) + 4 for name, value in event.headers
                    )
                    if length > most_bytes:
                        raise h11.RemoteProtocolError("the headers are too long")
                return event

            self.conn.next_event = counted

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # The application begins in the next turn of the loop: this is in time to tell it.
            scope: Any = self.scope
            if scope is not None and ARRIVED not in scope:
                scope[ARRIVED], scope[LEAVING] = arrived_since(self.loop), Leaving()
            if self.conn.their_state is not h11.IDLE:
                self._stop_waiting()
            elif self._slow is None:
                self._wait_for_headers()

        def may_read(self) -> bool:
            coming = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
            return coming or self.conn.our_state is h11.DONE

    return BoundedH11
