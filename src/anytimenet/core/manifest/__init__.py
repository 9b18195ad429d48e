"""What a bundle says of itself, readable without torch."""

from anytimenet.core.manifest.manifest import Manifest

__all__ = ["Manifest"]
