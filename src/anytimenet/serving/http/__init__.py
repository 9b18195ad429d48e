"""The server over HTTP: predictions, streams, several models, metrics, and what keeps it safe."""
