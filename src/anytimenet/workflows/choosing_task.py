"""The task that goes with a net and its data: one label an image, or one a pixel."""

from __future__ import annotations

import torch

from anytimenet.core.images.augmentation import BatchAugmentation, FileAugmentation
from anytimenet.core.manifest.records import TASKS
from anytimenet.costs import meta_copy
from anytimenet.data import DataSplits
from anytimenet.nets.chain.shapes import ShapesOnly
from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.tasks import Classification, Segmentation, Task


def task_for(
    net: AnytimeNet,
    splits: DataSplits,
    label_smoothing: float,
    augmentation: BatchAugmentation | FileAugmentation | None,
) -> Task:
    """Segmentation where the data has masks, else classification.

    >>> from anytimenet.data import load_data
    >>> from anytimenet.nets import create_net
    >>> type(task_for(create_net("resnet_tiny", in_channels=1), load_data("digits"), 0.1, None)).__name__
    'Classification'
    """
    if splits.mask_classes is None:
        return Classification(net.num_classes, label_smoothing, augmentation)
    # One that reads files would also be taken for one of batches.
    if isinstance(augmentation, FileAugmentation) or not isinstance(augmentation, BatchAugmentation | None):
        raise ValueError(
            f"{type(augmentation).__name__} is for labels of whole images, and these have masks: "
            "use MaskAugmentation(flip=..., pad=...)"
        )
    return Segmentation(net.num_classes, label_smoothing=label_smoothing, augmentation=augmentation)


@torch.no_grad()
def gives_label_maps(net: AnytimeNet, splits: DataSplits) -> bool:
    """Whether the net answers with label maps; found on the meta device, where nothing is computed."""
    p = splits.preprocessing
    image = torch.empty(1, p.channels, p.height, p.width, dtype=next(net.parameters()).dtype, device="meta")
    segment = meta_copy(net).eval().snapshot().segment(0, 1, last=True)
    with ShapesOnly():
        output: Output = segment((image,))
    return output[0].ndim == 4


def check_output(net: AnytimeNet, splits: DataSplits, task: Task | None = None) -> None:
    """Raises ValueError unless the net answers with label maps where the data has masks, and only there.

    What the net of a task of one's own answers with is for that task to say.
    """
    if task is not None and task.kind not in TASKS:
        return
    maps, masks = gives_label_maps(net, splits), splits.mask_classes is not None
    if masks and not maps:
        raise ValueError(
            f"the net gives one label an image and {splits.name} has a mask for each: take a segmentation "
            "net, such as net='fcn_exits_small'"
        )
    if maps and not masks:
        raise ValueError(
            f"this is a segmentation net and {splits.name} has one label an image: take data with masks "
            "(camvid:PATH, masks:PATH), or another net"
        )
