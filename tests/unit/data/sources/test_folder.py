"""Class folders in every layout; what cannot be used is named with its cure."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import DataOptions, load_data
from anytimenet.data.reading.decoding import decode_all


def pixels_of(name, height=6, width=6, channels=3):
    seed = sum(map(ord, name))
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write(root, name, pixels=None):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels_of(name) if pixels is None else pixels).save(path)
    return path


def fill(root, parts, classes=("cat", "dog"), count=10):
    for part in parts:
        for class_name in classes:
            for i in range(count):
                write(root, f"{part}{class_name}/{i}.png")
    return root


@pytest.fixture
def load(tmp_path):
    """Loads a folder with a cache of its own."""
    return lambda root, **options: load_data(
        f"folder:{root}", DataOptions(cache_dir=tmp_path / "cache", **options)
    )


# --- layouts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_given_parts_stay_as_they_are(tmp_path, load, val):
    root = fill(tmp_path / "data", ["train/", f"{val}/", "test/"], count=3)
    splits = load(root)
    for part, folder in [(splits.train, "train"), (splits.val, val), (splits.test, "test")]:
        assert part.names == tuple(f"{folder}/{c}/{i}.png" for c in ("cat", "dog") for i in range(3))
        assert part.labels.tolist() == [[0]] * 3 + [[1]] * 3
        assert all(np.array_equal(p, pixels_of(n)) for p, n in zip(part.images, part.names, strict=True))
    assert splits.class_names == (("cat", "dog"),)
    assert splits.num_classes == (2,)
    assert splits.skipped == 0
    assert splits.taxonomy is None


def test_validation_comes_out_of_train(tmp_path, load):
    root = fill(tmp_path / "data", ["train/", "test/"])
    splits = load(root, val_fraction=0.2)
    assert np.bincount(splits.val.labels[:, 0]).tolist() == [2, 2]
    assert len(splits.test) == 20
    assert sorted(splits.train.names + splits.val.names) == sorted(
        f"train/{c}/{i}.png" for c in ("cat", "dog") for i in range(10)
    )


def test_class_folders_alone_are_split_in_three(tmp_path, load):
    root = fill(tmp_path / "data", [""])
    splits = load(root, test_fraction=0.2, val_fraction=0.25)
    shares = [np.bincount(part.labels[:, 0]).tolist() for part in (splits.train, splits.val, splits.test)]
    assert shares == [[6, 6], [2, 2], [2, 2]]
    other = load(root, test_fraction=0.2, val_fraction=0.25, seed=1)
    assert other.test.names == splits.test.names
    assert other.val.names != splits.val.names
    assert other.fingerprint != splits.fingerprint


def test_test_comes_out_of_train_where_only_validation_is_given(tmp_path, load):
    splits = load(fill(tmp_path / "data", ["train/", "val/"]), test_fraction=0.3)
    assert len(splits.val) == 20
    assert all(name.startswith("train/") for name in splits.test.names)
    assert (len(splits.train), len(splits.test)) == (14, 6)


def test_the_fingerprint_is_that_of_the_content_not_of_the_place(tmp_path, load):
    one, other = (fill(tmp_path / name, ["train/", "test/"], count=4) for name in ("here", "there"))
    assert load(one).fingerprint == load(other).fingerprint
    write(other, "test/cat/0.png", np.zeros((6, 6, 3), np.uint8))
    assert load(one).fingerprint != load(other).fingerprint


def test_other_files_are_left_aside_and_subfolders_read(tmp_path, load):
    root = fill(tmp_path / "data", ["train/", "test/"], count=3)
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    (root / "train" / "cat" / ".hidden.png").write_text("no image")
    (root / "train" / ".git").mkdir()
    write(root, "train/cat/more/x.PNG")
    splits = load(root)
    assert "train/cat/more/x.PNG" in splits.train.names + splits.val.names
    assert len(splits.train) + len(splits.val) == 7


# --- pixels --------------------------------------------------------------------------------------------


def test_grey_folders_have_one_channel_until_a_colour_image_joins(tmp_path, load):
    root = tmp_path / "data"
    for name in ("cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png"):
        write(root, name, pixels_of(name, channels=1))
    grey = load(root)
    assert grey.preprocessing.channels == 1
    assert len(grey.preprocessing.mean) == 1
    write(root, "dog/3.png", pixels_of("dog/3.png"))
    for splits in (load(root), load(root, channels=3)):
        assert splits.preprocessing.channels == 3
        for part in (splits.train, splits.val, splits.test):
            for image, name in zip(part.images, part.names, strict=True):
                assert np.array_equal(image, splits.preprocessing.decode(root / name))
    assert load(root, channels=1).preprocessing.channels == 1


@pytest.mark.parametrize("resample", ["box", "bilinear", "lanczos"])
def test_images_are_what_preprocessing_decodes(tmp_path, load, resample):
    root = tmp_path / "data"
    sizes = [(8, 8), (16, 9), (9, 16), (4, 4), (5, 7), (8, 16)]
    for class_name in ("cat", "dog"):
        for i, (height, width) in enumerate(sizes):
            name = f"{class_name}/{i}.png"
            write(root, name, pixels_of(name, height, width, channels=1 if i == 3 else 3))
    splits = load(root, image_size=4, resample=resample)
    assert splits.preprocessing.resample == resample
    assert splits.train.images.shape[1:] == (4, 4, 3)
    for part in (splits.train, splits.val, splits.test):
        for image, name in zip(part.images, part.names, strict=True):
            assert np.array_equal(image, splits.preprocessing.decode(root / name))


def test_mean_and_std_are_those_of_the_training_images(tmp_path, load):
    splits = load(fill(tmp_path / "data", ["train/", "test/"]))
    values = splits.train.images / 255
    np.testing.assert_allclose(splits.preprocessing.mean, values.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(splits.preprocessing.std, values.std(axis=(0, 1, 2)), rtol=1e-12)


def test_images_of_one_size_need_not_be_square(tmp_path, load):
    root = tmp_path / "data"
    for class_name in ("cat", "dog"):
        for i in range(4):
            write(root, f"{class_name}/{i}.png", pixels_of(str(i), 3, 7))
    preprocessing = load(root).preprocessing
    assert (preprocessing.height, preprocessing.width) == (3, 7)
    assert isinstance(preprocessing, Preprocessing)


# --- taxonomy ------------------------------------------------------------------------------------------


def test_a_taxonomy_is_kept_and_used_when_asked_for(tmp_path, load):
    root = fill(tmp_path / "data", ["train/", "test/"], classes=("cat", "dog", "oak"))
    mapping = {"cat": ["animal", "thing"], "dog": ["animal", "thing"], "oak": ["plant", "thing"]}
    (root / "taxonomy.json").write_text(json.dumps(mapping))
    fine, all_levels = load(root), load(root, all_levels=True)
    assert fine.taxonomy == all_levels.taxonomy
    assert fine.taxonomy.levels == (("cat", "dog", "oak"), ("animal", "plant"), ("thing",))
    assert fine.class_names == fine.taxonomy.levels[:1]
    assert fine.test.labels.shape == (30, 1)
    assert all_levels.class_names == fine.taxonomy.levels
    assert all_levels.num_classes == (3, 2, 1)
    assert np.array_equal(all_levels.test.labels, fine.taxonomy.lift(fine.test.labels[:, 0]))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read as JSON"),
        ('["cat"]', "must map class names"),
        ('{"cat": "animal"}', "nothing about 'dog'"),
    ],
)
def test_a_bad_taxonomy_is_named_and_stops_only_who_asks_for_levels(tmp_path, load, caplog, text, why):
    root = fill(tmp_path / "data", ["train/"])
    (root / "taxonomy.json").write_text(text)
    with pytest.raises(DataError, match=f"taxonomy.json.*{why}"):
        load(root, taxonomy="own")
    assert load(root).taxonomy is None
    assert re.search(f"taxonomy.json.*{why}.* no label levels were asked for", caplog.text)


def test_levels_need_a_taxonomy(tmp_path, load):
    with pytest.raises(DataError, match=r"put a taxonomy\.json into the folder of the data"):
        load(fill(tmp_path / "data", ["train/"]), all_levels=True)


# --- what cannot be used -------------------------------------------------------------------------------


def test_what_does_not_fit_into_memory_says_so():
    with pytest.raises(DataError, match=r"1000000000 images of 4096x4096 pixels do not fit.*image_size=N"):
        decode_all(lambda _: np.zeros((4096, 4096), np.uint8), range(10**9), DataOptions(), threads=1)


@pytest.mark.parametrize("threads", [1, 3])
def test_decoding_keeps_the_order(threads):
    decoded = decode_all(
        lambda i: np.full((2, 3), i % 256, np.uint8),
        [str(i) for i in range(1000)],
        DataOptions(),
        threads=threads,
    )
    assert decoded.images[:, 0, 0, 0].tolist() == [i % 256 for i in range(1000)]
    assert decoded.good.tolist() == list(range(1000))


def test_bad_images_are_all_named_or_skipped_with_a_count(tmp_path, load, caplog):
    root = fill(tmp_path / "data", ["train/", "test/"])
    (root / "train/cat/broken.png").write_bytes(b"no image")
    whole = (root / "test/dog/3.png").read_bytes()
    (root / "test/dog/cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "train/dog/gone.png").symlink_to(root / "nowhere.png")
    for _ in range(2):  # before and after a cache exists
        with pytest.raises(DataError, match="3 of 43 images cannot be used") as caught:
            load(root)
        assert all(
            name in str(caught.value) for name in ("broken.png", "cut.png", "gone.png", "skip_bad=True")
        )
        splits = load(root, skip_bad=True)
        assert splits.skipped == 3
        assert "broken.png" in caplog.text
        assert len(splits.train) + len(splits.val) + len(splits.test) == 40
    assert splits.train.fingerprint == load(fill(tmp_path / "good", ["train/", "test/"])).train.fingerprint


def test_a_class_or_part_of_bad_images_only_is_an_error(tmp_path, load):
    root = fill(tmp_path / "data", ["train/", "test/"])
    (root / "train/eel").mkdir()
    (root / "train/eel/0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="no training image of 'eel' can be read"):
        load(root, skip_bad=True)
    (root / "train/eel/0.png").unlink()
    (root / "train/eel").rmdir()
    (root / "val/cat").mkdir(parents=True)
    (root / "val/cat/0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="no image of the val part can be read"):
        load(root, skip_bad=True)


def test_two_images_of_different_size_are_named(tmp_path, load):
    root = fill(tmp_path / "data", ["train/"])
    write(root, "train/dog/wide.png", pixels_of("wide", 6, 12))
    why = r"train/cat/0\.png is 6x6, train/dog/wide\.png is 12x6 \(width x height\).*image_size=N"
    with pytest.raises(DataError, match=why):
        load(root)
    assert load(root, image_size=6).train.images.shape[1:] == (6, 6, 3)


def layouts(root):
    """Each builds a layout that cannot be used, with what the message must say."""
    (root / "file").write_text("")
    (root / "empty").mkdir()
    write(root / "loose", "0.png")
    fill(root / "one", ["train/"], classes=("cat",))
    fill(root / "foreign", ["train/"])
    write(root / "foreign", "test/eel/0.png")
    fill(root / "testless", ["test/"])
    fill(root / "twice", ["train/", "val/", "valid/"])
    fill(root / "hollow", ["train/"])
    (root / "hollow/train/eel").mkdir()
    fill(root / "hollow_val", ["train/"])
    (root / "hollow_val/val/cat").mkdir(parents=True)
    fill(root / "single", [""], count=1)
    return {
        "missing": "missing does not exist",
        "file": "is a file",
        "empty": "no class folders",
        "loose": "1 images but no class folders",
        "one": "one class only",
        "foreign": "class 'eel' of the test part has no folder in train",
        "testless": "holds test/ but no train/",
        "twice": "holds val/ and valid/",
        "hollow": "eel holds no images",
        "hollow_val": "cat holds no images",
        "single": "no class has two images",
    }


def test_layouts_that_cannot_be_used_say_why(tmp_path, load):
    for name, why in layouts(tmp_path).items():
        with pytest.raises(DataError, match=why):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("digit", "did you mean 'digits'"),
        ("folder:", "needs a path"),
        ("mnist:data", "unknown data 'mnist:data'"),
        ("cub:", "cub: needs a path"),
        ("digits:8", "unknown data"),
    ],
)
def test_unknown_names(name, why):
    with pytest.raises(DataError, match=why):
        load_data(name)


def test_a_bare_path_says_how_to_write_it(tmp_path):
    with pytest.raises(DataError, match=f"write folder:{tmp_path}"):
        load_data(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"image_size": 0}, "image_size must be from 1"),
        ({"channels": 4}, "channels must be 1 or 3, not 4"),
        ({"resample": "cubic"}, "did you mean 'bicubic'"),
        ({"val_fraction": 1.0}, "val_fraction must be at least 0 and below 1"),
        ({"val_fraction": -0.1}, "val_fraction must be at least 0 and below 1"),
        ({"shorter_side": 8}, "shorter_side needs image_size"),
        ({"image_size": 16, "shorter_side": 8}, "shorter_side must be at least image_size"),
        ({"images_per_class": 0}, "images_per_class must be at least 1"),
        ({"standardise": "none"}, "standardise 'none' does not exist: known are: cifar10, data, preset"),
        ({"test_fraction": 1.0}, "test_fraction must be at least 0 and below 1"),
        ({"limit": 0}, "limit must be at least 1"),
    ],
)
def test_bad_options_are_refused(options, why):
    with pytest.raises(DataError, match=why):
        DataOptions(**options)


# --- a taxonomy that is asked for -----------------------------------------------------------------------


KINDS = {"cat": ["mammal", "animal"], "oak": ["tree", "plant"]}


def test_a_taxonomy_file_is_remembered_by_its_content(tmp_path, load):
    root = fill(tmp_path / "data", ["train/", "test/"], classes=("cat", "oak"))
    file = tmp_path / "kinds.json"
    file.write_text(json.dumps(KINDS))
    splits = load(root, taxonomy=str(file))
    file.unlink()
    assert splits.class_names == (("cat", "oak"), ("mammal", "tree"), ("animal", "plant"))
    assert splits.train.labels[:, 2].tolist() == splits.train.labels[:, 0].tolist()
    told = json.loads(json.dumps(splits.options.to_dict()))
    assert told["taxonomy"] == KINDS
    assert told["all_levels"] is True
    again = load_data(f"folder:{root}", DataOptions(**told))
    assert again.fingerprint == splits.fingerprint
    assert DataOptions(**told) == DataOptions(taxonomy={name: tuple(up) for name, up in KINDS.items()})


def test_a_taxonomy_that_is_given_goes_before_the_folders_own(tmp_path, load):
    root = fill(tmp_path / "data", ["train/"], classes=("cat", "oak"))
    (root / "taxonomy.json").write_text(json.dumps({"cat": "soft", "oak": "hard"}))
    assert load(root, taxonomy="own").class_names[1] == ("hard", "soft")
    assert load(root, taxonomy=KINDS).class_names[1] == ("mammal", "tree")
    (root / "taxonomy.json").write_text("{")
    assert load(root, taxonomy=KINDS).num_classes == (2, 2, 2)


@pytest.mark.parametrize(
    ("mapping", "why"),
    [
        ({"cat": "mammal"}, "nothing about 'oak'; add a coarser name for each class"),
        ({"cat": ["mammal", "animal"], "oak": "tree"}, "1 coarser names and others 2.*same number"),
        (
            {"cat": ["thing", "soft"], "oak": ["thing", "hard"]},
            "'thing' on level 2.*two parents.*the same one",
        ),
    ],
)
def test_a_taxonomy_that_is_no_tree_of_the_classes_says_what_to_change(tmp_path, load, mapping, why):
    with pytest.raises(DataError, match=why):
        load(fill(tmp_path / "data", ["train/"], classes=("cat", "oak")), taxonomy=mapping)


def test_a_taxonomy_file_with_a_class_twice_or_none_at_all_is_named(tmp_path):
    file = tmp_path / "kinds.json"
    file.write_text('{"cat": "animal", "cat": "plant"}')
    with pytest.raises(DataError, match=r"kinds\.json: 'cat' stands there twice; one parent is needed"):
        DataOptions(taxonomy=file)
    with pytest.raises(DataError, match="'kind' is no file: give a JSON file"):
        DataOptions(taxonomy="kind")


# --- nested class folders -------------------------------------------------------------------------------


NESTED = ("animals/pets/cat", "animals/wild/fox", "plants/trees/oak")


@pytest.mark.parametrize("parts", [["train/", "test/"], [""]])
def test_nested_class_folders_give_the_levels(tmp_path, load, parts):
    root = fill(tmp_path / "data", parts, classes=NESTED)
    splits = load(root, taxonomy="nested")
    assert splits.class_names == (("cat", "fox", "oak"), ("pets", "trees", "wild"), ("animals", "plants"))
    for image, labels in zip(splits.test.names, splits.test.labels, strict=True):
        chain = [names[i] for names, i in zip(splits.class_names, labels, strict=True)]
        assert chain == image.split("/")[-2:-5:-1]
    assert splits.options.taxonomy == "nested"
    again = load_data(splits.name, DataOptions(**splits.options.to_dict()))
    assert again.fingerprint == splits.fingerprint


def test_nesting_is_used_only_where_it_is_asked_for(tmp_path, load):
    root = fill(tmp_path / "data", [""], classes=NESTED)
    assert load(root).class_names == (("animals", "plants"),)


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        (
            ("animals/cat", "plants/trees/oak"),
            "animals/cat lies 2 deep and .*oak 3: nest every class equally",
        ),
        (("cat", "oak"), "are not nested: put each into a folder of its coarser class"),
        (("animals/cat", "toys/cat"), "two class folders are called 'cat'.*rename one of them"),
        (("a/small/cat", "b/small/oak"), "'small' on level 2.*two parents, 'a' and 'b'.*rename it"),
    ],
)
def test_nesting_that_is_no_tree_says_what_to_change(tmp_path, load, classes, why):
    with pytest.raises(DataError, match=why):
        load(fill(tmp_path / "data", ["train/"], classes=classes), taxonomy="nested")


def test_images_beside_nested_folders_and_parts_nested_otherwise_are_named(tmp_path, load):
    root = fill(tmp_path / "data", ["train/"], classes=("animals/cat", "plants/oak"))
    write(root, "test/plants/cat/0.png")
    with pytest.raises(DataError, match=r"test/plants/cat/0\.png is not where.*lie in animals/"):
        load(root, taxonomy="nested")
    write(root, "train/animals/stray.png")
    with pytest.raises(DataError, match=r"stray\.png lies beside the folder cat/"):
        load(root, taxonomy="nested")


def test_an_empty_nested_folder_is_named(tmp_path, load):
    root = fill(tmp_path / "data", ["train/"], classes=("animals/cat", "plants/oak"))
    (root / "train" / "plants" / "elm").mkdir()
    with pytest.raises(DataError, match="elm holds no images"):
        load(root, taxonomy="nested")


def test_only_folders_are_nested():
    with pytest.raises(DataError, match="nested folders is for folder:PATH only"):
        load_data("digits", DataOptions(taxonomy="nested"))


def test_data_by_name_takes_a_taxonomy_too():
    shapes = {str(i): "round" if i in (0, 3, 6, 8, 9) else "straight" for i in range(10)}
    splits = load_data("digits", DataOptions(taxonomy=shapes))
    assert splits.num_classes == (10, 2)
    assert splits.test.labels[:, 1].tolist() == [
        ("round", "straight").index(shapes[str(i)]) for i in splits.test.labels[:, 0]
    ]
