"""What a bundle says of itself, readable without torch."""
