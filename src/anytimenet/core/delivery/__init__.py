"""Folders from afar: what is fetched from a URL, checked, kept, and gone on with where it was cut."""
