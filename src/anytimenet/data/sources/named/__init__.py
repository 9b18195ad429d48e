"""Data sets by name: the published files, where they lie, their presets, and a reader a format."""
