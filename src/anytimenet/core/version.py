"""The version of this package, where its build and its records find it without importing the rest."""

__version__ = "0.1.0"
