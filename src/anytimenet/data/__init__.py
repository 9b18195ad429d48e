"""Images by name, folder or dataset: decoded once, split by class, augmented in whole batches."""

from anytimenet.data.augment import Augmentation
from anytimenet.data.datasets import read_dataset, splits_from_datasets
from anytimenet.data.image_set import ImageSet, save_png
from anytimenet.data.load import load_data
from anytimenet.data.loader import Loader
from anytimenet.data.options import DataOptions
from anytimenet.data.splits import DataSplits

__all__ = [
    "Augmentation",
    "DataOptions",
    "DataSplits",
    "ImageSet",
    "Loader",
    "load_data",
    "read_dataset",
    "save_png",
    "splits_from_datasets",
]
