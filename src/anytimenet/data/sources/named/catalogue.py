"""What is known of each data set by name: its files, counts, constants and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data.sets.channel_statistics import CIFAR10_MEAN, CIFAR10_STD, Statistics, constants_by_name
from anytimenet.data.sets.options import DataOptions


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: of the file.
        md5: its published checksum.
        url: where it can be fetched.
    """

    name: str
    md5: str
    url: str


@dataclass(frozen=True)
class Form:
    """One of the forms in which a data set is published.

    Attributes:
        name: of the form.
        folder: where its archive unpacks to, or where torchvision keeps its files.
        files: names of all files that the reader needs; each may also be there as `NAME.gz`.
        remote: what to fetch: one `.tar.gz` that holds `folder`, or the files themselves.
        md5: the checksums of `files` that are known.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    remote: tuple[RemoteFile, ...]
    md5: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NamedData:
    """A data set by name and its presets.

    Attributes:
        name: as `load_data` takes it; what needs a path is followed by `:PATH` there.
        summary: one line.
        classes: how many, fine level first.
        train_images, test_images: as published.
        held_out: of the training images, for validation.
        image_size: side of the images, or of the crop that a net sees.
        mean, std: the published constants of each channel, of values scaled to 0..1.
        page: where it is described and given away.
        forms: what is looked for under the data root; empty for a data set with a path of its own.
    """

    name: str
    summary: str
    classes: tuple[int, ...]
    train_images: int
    test_images: int
    held_out: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    page: str
    forms: tuple[Form, ...] = ()

    @property
    def val_fraction(self) -> float:
        """The part that is held out: a share, so that a subset of the data set keeps it too."""
        return self.held_out / self.train_images

    def preprocessing(
        self, height: int, width: int, channels: int, options: DataOptions
    ) -> Preprocessing | None:
        """With the preset constants; None where they are not wanted, or were published for colour only."""
        mean, std = constants_by_name(options, channels) or (self.mean, self.std)
        if options.standardise == "data" or len(mean) > channels:
            return None
        repeats = channels // len(mean)
        constants = (mean * repeats, std * repeats)
        return Preprocessing(height, width, channels, *constants, options.resample, options.shorter_side)


def _of_255(*values: float) -> tuple[float, ...]:
    return tuple(value / 255 for value in values)


def _cifar_form(
    folder: str, files: tuple[str, ...], archive: str, md5: str, md5_of_files: Mapping[str, str] | None = None
) -> Form:
    name = "binary" if "binary" in archive else "python"
    remote = (RemoteFile(archive, md5, f"{_KRIZHEVSKY}{archive}"),)
    return Form(name, folder, files, remote, md5_of_files or {})


def _cifar(
    name: str, summary: str, classes: tuple[int, ...], statistics: Statistics, forms: tuple[Form, ...]
) -> NamedData:
    counts = {"train_images": 50_000, "test_images": 10_000, "held_out": 5_000, "image_size": 32}
    mean, std = statistics
    page = f"{_KRIZHEVSKY}cifar.html"
    return NamedData(name, summary, classes, **counts, mean=mean, std=std, page=page, forms=forms)


def _mnist(
    name: str, summary: str, mean: float, std: float, page: str, folder: str, url: str, md5: dict[str, str]
) -> NamedData:
    remote = tuple(RemoteFile(f"{file}.gz", check, f"{url}{file}.gz") for file, check in md5.items())
    counts = {"train_images": 60_000, "test_images": 10_000, "held_out": 5_000, "image_size": 28}
    form = Form("IDX", folder, tuple(md5), remote)
    return NamedData(name, summary, (10,), **counts, mean=(mean,), std=(std,), page=page, forms=(form,))


_KRIZHEVSKY = "https://www.cs.toronto.edu/~kriz/"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))

CIFAR10 = _cifar(
    "cifar10",
    "32x32 colour photographs of 10 kinds of animals and vehicles (Krizhevsky 2009)",
    (10,),
    (CIFAR10_MEAN, CIFAR10_STD),
    forms=(
        _cifar_form(
            "cifar-10-batches-bin",
            (*(f"{name}.bin" for name in _BATCHES), "test_batch.bin", "batches.meta.txt"),
            "cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
        ),
        _cifar_form(
            "cifar-10-batches-py",
            (*_BATCHES, "test_batch", "batches.meta"),
            "cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
            {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
                "test_batch": "40351d587109b95175f43aff81a1287e",
                "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
            },
        ),
    ),
)

CIFAR100 = _cifar(
    "cifar100",
    "32x32 colour photographs of 100 classes in 20 superclasses (Krizhevsky 2009)",
    (100, 20),
    (_of_255(129.3, 124.1, 112.4), _of_255(68.2, 65.4, 70.4)),
    forms=(
        _cifar_form(
            "cifar-100-binary",
            ("train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt"),
            "cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
        ),
        _cifar_form(
            "cifar-100-python",
            ("train", "test", "meta"),
            "cifar-100-python.tar.gz",
            "eb9058c3a382ffc7106e4002c42a8d85",
            {
                "train": "16019d7e3df5f24257cddd939b257f8d",
                "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
                "meta": "7973b15100ade9c7d40fb424638fde48",
            },
        ),
    ),
)

MNIST = _mnist(
    "mnist",
    "28x28 grey handwritten digits (LeCun et al. 1998)",
    mean=0.1307,
    std=0.3081,
    page="http://yann.lecun.com/exdb/mnist/",
    folder="MNIST/raw",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    md5={
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)

FASHION_MNIST = _mnist(
    "fashion_mnist",
    "28x28 grey pictures of 10 kinds of clothes (Xiao et al. 2017)",
    mean=0.2860,
    std=0.3530,
    page="https://github.com/zalandoresearch/fashion-mnist",
    folder="FashionMNIST/raw",
    url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    md5={
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)

IMAGENET = NamedData(
    "imagenet",
    "photographs of 1,000 classes (Russakovsky et al. 2015); tested on the official validation images",
    classes=(1000,),
    train_images=1_281_167,
    test_images=50_000,
    held_out=50_000,
    image_size=224,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    page="https://www.image-net.org/challenges/LSVRC/2012/",
)

CUB = NamedData(
    "cub",
    "photographs of 200 species of birds, CUB-200-2011 (Wah et al. 2011)",
    classes=(200, 183, 149, 80),
    train_images=5_994,
    test_images=5_794,
    held_out=1_000,
    image_size=224,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    page="https://www.vision.caltech.edu/datasets/cub_200_2011/",
)

CATALOGUE = {data.name: data for data in (CIFAR10, CIFAR100, FASHION_MNIST, MNIST, IMAGENET, CUB)}
