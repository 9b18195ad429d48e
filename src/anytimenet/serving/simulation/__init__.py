"""The scheduler on a virtual clock: how policies compare, and how many replicas a load needs."""
