"""Streams: the newest frame is answered, once a period."""
