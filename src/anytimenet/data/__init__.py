"""Images by name, folder or dataset: decoded once, split by class, augmented in whole batches."""

from anytimenet.data.augment.large_images import LargeImageAugmentation
from anytimenet.data.augment.masks import MaskAugmentation
from anytimenet.data.augment.mixing import Mixing
from anytimenet.data.augment.small_images import Augmentation
from anytimenet.data.batches.loader import Loader
from anytimenet.data.batches.making import (
    AnyAugmentation,
    augmentation_for,
    augmentation_from,
    augmentation_to_dict,
    make_loader,
)
from anytimenet.data.batches.sharding import Shard
from anytimenet.data.batches.stream import StreamLoader
from anytimenet.data.load import has_masks, load_data, names_a_path, options_for, reads_whole, same_data
from anytimenet.data.sets.class_names import relabel
from anytimenet.data.sets.fingerprints import image_prints, seen_images
from anytimenet.data.sets.image_set import ImageFiles, Images, ImageSet, MaskSet, save_png
from anytimenet.data.sets.options import DataOptions, parse_ignore_index, parse_image_size
from anytimenet.data.sets.splits import DataSplits
from anytimenet.data.sources.datasets import read_dataset, splits_from_datasets
from anytimenet.data.sources.first_look import FirstLook, first_look
from anytimenet.data.sources.nested_folders import WHOLE
from anytimenet.data.sources.whole import read_whole

__all__ = [
    "WHOLE",
    "AnyAugmentation",
    "Augmentation",
    "DataOptions",
    "DataSplits",
    "FirstLook",
    "ImageFiles",
    "ImageSet",
    "Images",
    "LargeImageAugmentation",
    "Loader",
    "MaskAugmentation",
    "MaskSet",
    "Mixing",
    "Shard",
    "StreamLoader",
    "augmentation_for",
    "augmentation_from",
    "augmentation_to_dict",
    "first_look",
    "has_masks",
    "image_prints",
    "load_data",
    "make_loader",
    "names_a_path",
    "options_for",
    "parse_ignore_index",
    "parse_image_size",
    "read_dataset",
    "read_whole",
    "reads_whole",
    "relabel",
    "same_data",
    "save_png",
    "seen_images",
    "splits_from_datasets",
]
