"""What is predicted: loss, metric, augmentation and decoding."""

from anytimenet.tasks.classification import Classification
from anytimenet.tasks.task import Labels, Meter, Task

__all__ = ["Classification", "Labels", "Meter", "Task"]
