"""What an evaluation found, and how reports compare."""
