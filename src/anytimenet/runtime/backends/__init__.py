"""What runs segments: the interface, and the backends that need no PyTorch."""
