"""A server that sheds accuracy before it sheds requests; needs no PyTorch."""
