"""Tables and numbers as text."""
