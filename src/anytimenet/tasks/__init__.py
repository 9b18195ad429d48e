"""What is predicted: loss, scores, augmentation and decoding."""

from anytimenet.tasks.classification import Classification
from anytimenet.tasks.known import register_task, task_named
from anytimenet.tasks.segmentation import Segmentation, SegmentationMeter
from anytimenet.tasks.task import Labels, Meter, Task

__all__ = [
    "Classification",
    "Labels",
    "Meter",
    "Segmentation",
    "SegmentationMeter",
    "Task",
    "register_task",
    "task_named",
]
