"""Images with their labels in memory or in files, and how they are split."""
