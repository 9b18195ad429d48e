"""ATen operators as ONNX operators, those that nets here are made of: `OPERATORS` is the table of all."""

from anytimenet.export.operators import arithmetic, layers, pooling, shapes, tokens
from anytimenet.export.operators.table import OPERATORS, Known, Value

__all__ = ["OPERATORS", "Known", "Value", "arithmetic", "layers", "pooling", "shapes", "tokens"]
