"""ImageNet: folders or a flat validation part with a plain-text ground truth, as files that stay files."""

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.data import DataOptions, ImageFiles, ImageSet, load_data
from anytimenet.data.sets.stratify import draw_part
from anytimenet.data.sources.named.catalogue import IMAGENET

WNIDS = ["n01440764", "n01443537", "n02119789"]
VAL = [2, 0, 1, 1, 0, 2]  # class of each validation image, in the published order


def write_image(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    width, height = (12, 9) if seed % 2 else (9, 12)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path, format="JPEG")


@pytest.fixture
def root(tmp_path):
    """Twenty training images of each of three classes."""
    for label, wnid in enumerate(WNIDS):
        for i in range(20):
            write_image(tmp_path / "train" / wnid / f"{wnid}_{i}.JPEG", 100 * label + i)
    return tmp_path


@pytest.fixture
def with_folders(root):
    for i, label in enumerate(VAL, 1):
        write_image(root / "val" / WNIDS[label] / f"ILSVRC2012_val_{i:08d}.JPEG", i)
    return root


@pytest.fixture
def flat(root):
    for i in range(1, len(VAL) + 1):
        write_image(root / "val" / f"ILSVRC2012_val_{i:08d}.JPEG", i)
    return root


def load(root, **options):
    return load_data(f"imagenet:{root}", DataOptions(cache_dir=root / "cache", **options))


def truth(splits):
    return {
        name.rpartition("/")[2].removesuffix(".JPEG"): int(label)
        for name, label in zip(splits.test.names, splits.test.labels[:, 0], strict=True)
    }


EXPECTED = {f"ILSVRC2012_val_{i:08d}": label for i, label in enumerate(VAL, 1)}


def kaggle(folder, rows=None):
    lines = ["ImageId,PredictionString"]
    lines += rows or [f"{name},{WNIDS[label]} 1 2 3 4 " for name, label in reversed(EXPECTED.items())]
    (folder / "LOC_val_solution.csv").write_text("\n".join([*lines, ""]))


def devkit(folder, ids=(7, 3, 1)):
    """Ids of the development kit follow no order of the wnids."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [str(ids[label]) for label in VAL]
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join([*lines, ""]))
    mapping = [f"{wnid} {number} some_name" for wnid, number in zip(WNIDS, ids, strict=True)]
    (folder / "map_clsloc.txt").write_text("\n".join(reversed(mapping)))


def test_class_folders(with_folders):
    splits = load(with_folders, val_fraction=0.1)
    assert splits.class_names == (tuple(WNIDS),)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (54, 6, 6)
    assert truth(splits) == EXPECTED
    for part in (splits.train, splits.val, splits.test):
        assert isinstance(part, ImageFiles)
        assert all(part.path(i).is_file() for i in range(len(part)))
        assert [WNIDS[label] for label in part.labels[:, 0]] == [name.split("/")[1] for name in part.names]
    assert not set(splits.train.names) & set(splits.val.names)


@pytest.mark.parametrize(
    "write", [kaggle, devkit, lambda root: devkit(root / "ILSVRC2012_devkit_t12" / "data")]
)
def test_a_flat_validation_part_with_each_ground_truth(flat, write):
    write(flat)
    assert truth(load(flat)) == EXPECTED


def test_the_layout_of_the_challenge_archive(flat):
    inner = flat / "ILSVRC" / "Data" / "CLS-LOC"
    inner.mkdir(parents=True)
    for part in ("train", "val"):
        (flat / part).rename(inner / part)
    kaggle(flat)
    assert truth(load(flat)) == EXPECTED


def test_a_flat_validation_part_without_ground_truth_says_what_to_add(flat):
    with pytest.raises(DataError, match=r"LOC_val_solution.csv, or .*ground_truth.txt with map_clsloc.txt"):
        load(flat)
    devkit(flat)
    (flat / "map_clsloc.txt").unlink()
    with pytest.raises(DataError, match=r"meta.mat is not read"):
        load(flat)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda r: kaggle(r, ["ILSVRC2012_val_00000001,n01440764 1 2 3 4"]), "holds 6 images but .* about 1"),
        (lambda r: kaggle(r, ["ILSVRC2012_val_00000001,goldfish"]), "begin with a wnid"),
        (lambda r: kaggle(r, ["ILSVRC2012_val_00000001"]), "begin with a wnid"),
        (lambda r: devkit(r, (7, 3, 7)), "lines `wnid id name` with an id each"),
        (
            lambda r: (devkit(r), (r / "ILSVRC2012_validation_ground_truth.txt").write_text("9\n" * 6)),
            "has the id 9, which .*map_clsloc.txt lacks",
        ),
        (
            lambda r: (devkit(r), (r / "ILSVRC2012_validation_ground_truth.txt").write_text("7\n" * 5)),
            "holds 6 images but .* about 5 others",
        ),
        (lambda r: (devkit(r), (r / "map_clsloc.txt").write_text("7 n01440764")), "lines `wnid id name`"),
        (
            lambda r: kaggle(r, [f"{name},n09999999 1 2 3 4" for name in EXPECTED]),
            r"images of n09999999 \(1 such classes\), which train lacks",
        ),
    ],
)
def test_a_ground_truth_that_does_not_fit_is_refused(flat, spoil, why):
    spoil(flat)
    with pytest.raises(DataError, match=why):
        load(flat)


@pytest.mark.parametrize("missing", ["train", "val"])
def test_missing_folders_are_named(with_folders, missing):
    (with_folders / missing).rename(with_folders / "elsewhere")
    with pytest.raises(DataError, match=r"needs .*train/WNID/\*.JPEG and .*val"):
        load(with_folders)


def test_presets(with_folders):
    splits = load(with_folders)
    p = splits.preprocessing
    assert (p.height, p.width, p.shorter_side, p.resample) == (224, 224, 256, "bilinear")
    assert (p.mean, p.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    # 50,000 of 1,281,167 in the whole set; the same share of these 60 images.
    assert len(splits.val) == round(60 * 50_000 / 1_281_167)
    small = load(with_folders, image_size=112).preprocessing
    assert (small.height, small.shorter_side) == (112, 128)
    with pytest.raises(DataError, match=r"leave standardise=\.\.\. and channels=\.\.\. as they are"):
        load(with_folders, standardise="data")


def test_fifty_thousand_of_the_published_counts_are_held_out_by_class():
    counts = np.full(1000, 1281)
    counts[:167] += 1
    labels = np.repeat(np.arange(1000), counts)
    assert len(labels) == 1_281_167
    held_out = draw_part(labels, labels.astype(str).tolist(), IMAGENET.val_fraction, 0, "val")
    assert held_out.sum() == 50_000
    exact = counts * IMAGENET.val_fraction
    assert (np.abs(np.bincount(labels[held_out]) - exact) < 1).all()


def test_images_per_class_limits_training_alone(with_folders):
    whole, limited = (
        load(with_folders, val_fraction=0.1),
        load(with_folders, val_fraction=0.1, images_per_class=5),
    )
    assert np.bincount(limited.train.labels[:, 0]).tolist() == [5, 5, 5]
    assert set(limited.train.names) < set(whole.train.names)
    assert limited.val.fingerprint == whole.val.fingerprint
    assert limited.test.fingerprint == whole.test.fingerprint
    other = load(with_folders, val_fraction=0.1, images_per_class=5, seed=1)
    assert set(other.train.names) != set(limited.train.names)
    few = load(with_folders, val_fraction=0.1, images_per_class=5, limit=7)
    assert set(few.train.names) < set(limited.train.names)
    assert len(few.train) == 7


def test_in_memory_gives_what_the_preprocessing_gives(with_folders):
    files = load(with_folders, image_size=7, shorter_side=8, val_fraction=0)
    splits = load(with_folders, image_size=7, shorter_side=8, val_fraction=0, in_memory=True)
    assert isinstance(splits.train, ImageSet)
    assert len(splits.val) == 0
    assert splits.preprocessing == files.preprocessing
    assert splits.test.names == files.test.names
    assert np.array_equal(splits.test.labels, files.test.labels)
    for i, pixels in enumerate(splits.test.images):
        assert np.array_equal(pixels, files.preprocessing.decode(files.test.path(i)))
    with_folders.joinpath(files.train.names[3]).write_bytes(b"no image")
    again = {"image_size": 7, "shorter_side": 8, "val_fraction": 0, "in_memory": True}
    with pytest.raises(DataError, match="skip_bad=True"):
        load(with_folders, **again)
    left = load(with_folders, skip_bad=True, **again)
    assert left.skipped == 1
    assert set(files.train.names) - set(left.train.names) == {files.train.names[3]}
