"""The protocols of the field: anytime, budgeted batch, chosen levels."""
