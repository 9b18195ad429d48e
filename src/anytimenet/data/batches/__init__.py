"""Batches: drawn, divided over processes, loaded or streamed."""
