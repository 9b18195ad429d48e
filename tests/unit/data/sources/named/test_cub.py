"""CUB-200-2011 from its text files."""

import csv
import json
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.data import DataOptions, ImageFiles, load_data
from anytimenet.data.sets.stratify import draw_part
from anytimenet.data.sources.named.catalogue import CUB
from anytimenet.data.sources.named.cub import cub_taxonomy

SPECIES = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "010.Red_winged_Blackbird"]
COUNT = 45


def species(image):
    return (image * 7) % 3


def is_test(image):
    return (image // 3) % 3 == 0


def name(image):
    kind = SPECIES[species(image)]
    return f"{kind}/{kind[4:]}_{image:04d}.jpg"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "CUB_200_2011"
    for image in range(1, COUNT + 1):
        path = root / "images" / name(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10, 12, 3), image, np.uint8)).save(path)
    images = range(1, COUNT + 1)
    texts = {
        "images.txt": [f"{i} {name(i)}" for i in images],
        "image_class_labels.txt": [f"{i} {species(i) + 1}" for i in images],
        "train_test_split.txt": [f"{i} {int(not is_test(i))}" for i in images],
        "classes.txt": [f"{i} {kind}" for i, kind in enumerate(SPECIES, 1)],
    }
    for text, lines in texts.items():
        (root / text).write_text("\n".join([*lines, ""]))
    return root


def load(root, **options):
    return load_data(f"cub:{root}", DataOptions(cache_dir=root / "cache", **options))


def test_images_labels_and_parts_are_those_of_the_texts(root):
    splits = load(root)
    assert splits.class_names == (tuple(SPECIES),)
    assert all(isinstance(part, ImageFiles) for part in (splits.train, splits.val, splits.test))
    images = range(1, COUNT + 1)
    assert set(splits.test.names) == {f"images/{name(i)}" for i in images if is_test(i)}
    assert {*splits.train.names, *splits.val.names} == {f"images/{name(i)}" for i in images if not is_test(i)}
    for part in (splits.train, splits.val, splits.test):
        assert all(part.path(i).is_file() for i in range(len(part)))
        assert [SPECIES[label] for label in part.labels[:, 0]] == [n.split("/")[1] for n in part.names]
    assert load(root.parent).fingerprint == splits.fingerprint


def test_presets(root):
    splits = load(root)
    p = splits.preprocessing
    assert (p.height, p.width, p.shorter_side, p.mean) == (224, 224, 256, (0.485, 0.456, 0.406))
    training = sum(not is_test(i) for i in range(1, COUNT + 1))
    assert len(splits.val) == round(training * 1000 / 5994)
    labels = np.arange(5994) % 200
    assert draw_part(labels, labels.astype(str).tolist(), CUB.val_fraction, 0, "val").sum() == 1000


def test_coarser_levels_come_from_a_taxonomy_beside_the_texts(root):
    kinds = dict(zip(SPECIES, ["albatross", "albatross", "blackbird"], strict=True))
    (root / "taxonomy.json").write_text(json.dumps(kinds))
    splits = load(root, all_levels=True)
    assert splits.num_classes == (3, 2)
    assert splits.test.labels[:, 1].tolist() == [[0, 0, 1][fine] for fine in splits.test.labels[:, 0]]


def test_the_levels_of_the_paper_come_with_the_package(root):
    splits = load(root, taxonomy="own")
    assert splits.class_names == (
        tuple(SPECIES),
        tuple(SPECIES),
        ("blackbird", "albatross"),
        ("thrush", "pelagic_bird"),
    )
    assert splits.taxonomy.parents == ((0, 1, 1), (1, 1, 1), (2, 0, 0))
    assert load(root).num_classes == (3,)


def test_a_taxonomy_that_is_given_goes_before_both(root):
    (root / "taxonomy.json").write_text("{")
    kinds = dict.fromkeys(SPECIES[:2], "long wings") | {SPECIES[2]: "short wings"}
    assert load(root, taxonomy=kinds).class_names[1] == ("long wings", "short wings")


def test_classes_that_are_no_species_of_cub_have_no_levels_of_their_own(root):
    classes = root / "classes.txt"
    classes.write_text(classes.read_text().replace("Laysan_Albatross", "Dodo"))
    assert load(root).taxonomy is None
    with pytest.raises(DataError, match=r"need a taxonomy: give one with .*taxonomy=FILE"):
        load(root, taxonomy="own")


def test_the_four_levels_are_those_of_the_paper():
    table = files("anytimenet.data.sources.named").joinpath("cub_levels.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    taxonomy = cub_taxonomy([f"{int(row['class_id']):03d}.{row['class_name']}" for row in rows])
    assert [len(names) for names in taxonomy.levels] == [200, 183, 149, 80]
    ids = [tuple(int(row[f"level{level}_id"]) for level in (2, 3, 4)) for row in rows]
    assert taxonomy.parents == tuple(ids)
    columns = [range(200), *zip(*ids, strict=True)]
    for finer, coarser in pairwise(columns):
        assert len(set(zip(finer, coarser, strict=True))) == len(set(finer))  # one coarser parent each


def test_in_memory(root):
    splits = load(root, image_size=8, in_memory=True)
    assert splits.test.images.shape[1:] == (8, 8, 3)
    numbers = [int(n.removesuffix(".jpg")[-4:]) for n in splits.test.names]
    assert np.array_equal(splits.test.images[:, 4, 4, 0], numbers)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("images.txt", "x y", "lines of a number and a value"),
        ("images.txt", "1 a/b.jpg", "each number once"),
        ("images.txt", "46 a/b.jpg", "of different images"),
        ("images.txt", "46", "lines of a number and a value"),
        ("image_class_labels.txt", "46 1", "of different images"),
        ("train_test_split.txt", "46 1", "of different images"),
    ],
)
def test_texts_that_do_not_agree_are_refused(root, text, line, why):
    with open(root / text, "a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=why):
        load(root)


def test_wrong_values_are_refused(root):
    labels = root / "image_class_labels.txt"
    whole = labels.read_text()
    labels.write_text(whole.replace("1 2\n", "1 9\n", 1))
    with pytest.raises(DataError, match=r"has the class 9, which classes.txt lacks"):
        load(root)
    labels.write_text(whole)
    split = root / "train_test_split.txt"
    split.write_text(split.read_text().replace(" 0\n", " 1\n"))
    with pytest.raises(DataError, match="1 for training and 0 for test"):
        load(root)


@pytest.mark.parametrize("missing", ["images.txt", "classes.txt", "train_test_split.txt"])
def test_missing_texts_are_named(root, missing):
    (root / missing).unlink()
    with pytest.raises(DataError, match=missing):
        load(root)


def test_a_path_that_leaves_the_folder_is_refused(root):
    text = root / "images.txt"
    text.write_text(text.read_text().replace(name(5), "../../../secret.jpg"))
    with pytest.raises(DataError, match="is not a path inside"):
        load(root)
