"""PyTorch as backends: eager, and compiled ahead of time."""
