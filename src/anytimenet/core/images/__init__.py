"""An image: from a file to pixels to numbers."""
