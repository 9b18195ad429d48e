"""The native engine: C++ that runs lowered programs, and its library as Python sees it; knows no family."""
