"""What is predicted: loss, metric, augmentation and decoding."""

from anytimenet.tasks.classification import Classification
from anytimenet.tasks.segmentation import Segmentation, SegmentationMeter
from anytimenet.tasks.task import Labels, Meter, Task

__all__ = ["Classification", "Labels", "Meter", "Segmentation", "SegmentationMeter", "Task"]
