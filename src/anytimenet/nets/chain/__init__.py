"""The machinery of nets that grow in depth: a graph of nodes with exits."""
