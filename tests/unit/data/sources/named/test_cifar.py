"""The CIFAR sets from the published forms: binary, python and packed, all the same images."""

import hashlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.data import DataOptions, load_data, splits_from_datasets
from anytimenet.data.sets.channel_statistics import channel_statistics
from anytimenet.data.sources.named.catalogue import CIFAR10, CIFAR100

TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def old_pickle(value):
    """The bytes that Python 2 and its numpy wrote, as the published files were."""
    if isinstance(value, dict):
        return b"}(" + b"".join(old_pickle(k) + old_pickle(v) for k, v in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(old_pickle, value)) + b"e"
    if isinstance(value, int):
        return b"K" + bytes([value])
    if isinstance(value, str):
        return b"T" + len(value).to_bytes(4, "little") + value.encode("latin1")
    shape = b"".join(b"J" + size.to_bytes(4, "little") for size in value.shape)
    dtype = (
        b"cnumpy\ndtype\n" + old_pickle("u1") + b"K\0K\1\x87R(K\3" + old_pickle("|") + b"NNNJ\xff\xff\xff\xff"
    )
    dtype += b"J\xff\xff\xff\xffK\0tb"
    raw = b"T" + value.size.to_bytes(4, "little") + value.tobytes()
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + old_pickle("b") + b"\x87R"
    return start + b"(K\1(" + shape + b"t" + dtype + b"\x89" + raw + b"tb"


def planes(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def write_cifar10(root, batches, test, form):
    """`batches` are five pairs of images `(N, 32, 32, 3)` and labels `(N,)`."""
    parts = {f"data_batch_{i}": batch for i, batch in enumerate(batches, 1)} | {"test_batch": test}
    folder = root / ("cifar-10-batches-bin" if form == "binary" else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    for name, (images, labels) in parts.items():
        if form == "binary":
            rows = np.concatenate([labels[:, None].astype(np.uint8), planes(images)], axis=1)
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            batch = {"batch_label": name, "labels": labels.tolist(), "data": planes(images)}
            (folder / name).write_bytes(b"\x80\x02" + old_pickle(batch) + b".")
    if form == "binary":
        (folder / "batches.meta.txt").write_text("\n".join([*TEN, "", ""]))
    else:
        meta = {"num_cases_per_batch": 20, "label_names": TEN, "num_vis": 3}
        (folder / "batches.meta").write_bytes(b"\x80\x02" + old_pickle(meta) + b".")
    return folder


FINE = [f"fine {i}" for i in range(6)]
COARSE = ["plants", "beasts", "things"]
PARENTS = np.array([2, 0, 1, 1, 0, 2])


def write_cifar100(root, train, test, form, parents=PARENTS):
    folder = root / ("cifar-100-binary" if form == "binary" else "cifar-100-python")
    folder.mkdir(parents=True)
    for name, (images, labels) in {"train": train, "test": test}.items():
        if form == "binary":
            both = np.stack([parents[labels], labels], axis=1).astype(np.uint8)
            (folder / f"{name}.bin").write_bytes(np.concatenate([both, planes(images)], axis=1).tobytes())
        else:
            batch = {"fine_labels": labels.tolist(), "coarse_labels": parents[labels].tolist()}
            batch = old_pickle({**batch, "data": planes(images)})
            (folder / name).write_bytes(b"\x80\x02" + batch + b".")
    names = {"fine_label_names": FINE, "coarse_label_names": COARSE}
    for key, words in names.items() if form == "binary" else ():
        (folder / f"{key}.txt").write_text("\n".join([*words, ""]))
    if form == "python":
        (folder / "meta").write_bytes(b"\x80\x02" + old_pickle(names) + b".")
    return folder


def pack(folder, archive):
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    shutil.rmtree(folder)


def drawn(count, classes, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return images, np.arange(count) % classes


@pytest.fixture
def ten():
    return [drawn(20, 10, seed) for seed in range(5)], drawn(30, 10, 9)


@pytest.fixture
def hundred():
    return drawn(60, 6, 0), drawn(18, 6, 1)


@pytest.fixture
def load(tmp_path):
    def load(name="cifar10", **options):
        return load_data(name, DataOptions(data_root=tmp_path, cache_dir=tmp_path / "cache", **options))

    return load


def test_the_writer_writes_what_python_reads():
    value = {"data": np.arange(8, dtype=np.uint8).reshape(2, 4), "labels": [1, 2], "name": "caf\xe9"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy.core has moved
        read = pickle.loads(b"\x80\x02" + old_pickle(value) + b".", encoding="latin1")
    assert np.array_equal(read.pop("data"), value.pop("data"))
    assert read == value


def test_the_binary_form(load, ten, tmp_path):
    write_cifar10(tmp_path, *ten, "binary")
    splits = load()
    assert splits.name == "cifar10"
    assert splits.class_names == (tuple(TEN),)
    assert splits.taxonomy is None
    assert (len(splits.train), len(splits.val), len(splits.test)) == (90, 10, 30)
    images, labels = (np.concatenate(arrays) for arrays in zip(*ten[0], strict=True))
    for part in (splits.train, splits.val):
        places = [int(name.removeprefix("train-")) for name in part.names]
        assert np.array_equal(part.images, images[places])
        assert np.array_equal(part.labels[:, 0], labels[places])
    assert np.array_equal(splits.test.images, ten[1][0])
    assert splits.train.images.flags.c_contiguous  # what loaders gather quickly
    assert np.bincount(splits.val.labels[:, 0]).tolist() == [1] * 10


@pytest.mark.parametrize(("name", "write"), [("cifar10", write_cifar10), ("cifar100", write_cifar100)])
def test_every_form_gives_the_same_splits(load, ten, hundred, tmp_path, name, write):
    data = ten if name == "cifar10" else hundred
    found = []
    for form in ("binary", "python"):
        folder = write(tmp_path, *data, form)
        found.append(load(name).fingerprint)
        pack(folder, tmp_path / f"{name.replace('r1', 'r-1')}-{form}.tar.gz")
        found.append(load(name).fingerprint)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        (path,) = tmp_path.iterdir()  # nothing was unpacked
        path.unlink()
    assert len(set(found)) == 1


def test_the_levels_of_cifar100(load, hundred, tmp_path):
    write_cifar100(tmp_path, *hundred, "binary")
    fine = load("cifar100")
    assert fine.class_names == (tuple(FINE),)
    assert fine.taxonomy.levels == (tuple(FINE), tuple(COARSE))
    assert fine.train.labels.shape[1] == 1
    both = load("cifar100", taxonomy="own")
    assert both.fingerprint == load("cifar100", all_levels=True).fingerprint
    assert both.num_classes == (6, 3)
    assert np.array_equal(both.test.labels, np.stack([hundred[1][1], PARENTS[hundred[1][1]]], axis=1))


def test_a_class_with_two_superclasses_is_refused(load, hundred, tmp_path):
    (images, labels), test = hundred
    folder = write_cifar100(tmp_path, (images, labels), test, "binary")
    content = bytearray((folder / "train.bin").read_bytes())
    content[0] = 0  # the first image has the fine class 0, elsewhere in superclass 2
    (folder / "train.bin").write_bytes(content)
    with pytest.raises(DataError, match="'fine 0' into 'plants' and into 'things'"):
        load("cifar100")


def test_files_in_the_root_itself_and_under_the_name(load, ten, tmp_path):
    folder = write_cifar10(tmp_path, *ten, "binary")
    expected = load().fingerprint
    folder.rename(tmp_path / "cifar10")
    assert load().fingerprint == expected
    for path in (tmp_path / "cifar10").iterdir():
        path.rename(tmp_path / path.name)
    assert load().fingerprint == expected


def test_the_root_comes_from_the_environment_or_is_data(ten, tmp_path, monkeypatch):
    write_cifar10(tmp_path / "data", *ten, "binary")
    monkeypatch.delenv("ANYTIMENET_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    here = load_data("cifar10").fingerprint
    monkeypatch.chdir("/")
    monkeypatch.setenv("ANYTIMENET_DATA", str(tmp_path / "data"))
    assert load_data("cifar10").fingerprint == here


def test_constants_are_the_published_ones_unless_those_of_the_images_are_asked_for(load, ten, tmp_path):
    write_cifar10(tmp_path, *ten, "binary")
    preset = load().preprocessing
    np.testing.assert_allclose(np.array(preset.mean) * 255, (125.3, 123.0, 113.9))
    np.testing.assert_allclose(np.array(preset.std) * 255, (63.0, 62.1, 66.7))
    own = load(standardise="data")
    assert (own.preprocessing.mean, own.preprocessing.std) == channel_statistics(own.train.images)
    grey = load(channels=1)  # nobody published constants of grey CIFAR images
    assert (grey.preprocessing.mean, grey.preprocessing.std) == channel_statistics(grey.train.images)
    assert CIFAR100.mean == tuple(value / 255 for value in (129.3, 124.1, 112.4))


def test_the_constants_of_cifar10_can_stand_for_those_of_other_colour_images(load, ten, hundred, tmp_path):
    write_cifar10(tmp_path, *ten, "binary")
    write_cifar100(tmp_path, *hundred, "binary")
    preset, hundreds = load().preprocessing, load("cifar100", standardise="cifar10").preprocessing
    assert (hundreds.mean, hundreds.std) == (preset.mean, preset.std)
    assert load("cifar100").preprocessing.mean == CIFAR100.mean
    with pytest.raises(DataError, match="these have 1 channels"):
        load(channels=1, standardise="cifar10")
    images = load().train
    pairs = [
        (Image.fromarray(image), int(y)) for image, (y,) in zip(images.images, images.labels, strict=True)
    ]
    own = splits_from_datasets(pairs, options=DataOptions(standardise="cifar10", test_fraction=0))
    assert own.preprocessing.mean == preset.mean


def test_resized_images_are_those_of_the_folder_route_and_are_cached(load, ten, tmp_path, monkeypatch):
    write_cifar10(tmp_path, *ten, "binary")
    options = {"image_size": 16, "resample": "box"}
    for part, (images, labels) in {"train": ten[0][0], "test": ten[1]}.items():
        for i, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            path = tmp_path / "folder" / part / TEN[label] / f"{part}-{i:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    folder = load_data(f"folder:{tmp_path / 'folder'}", DataOptions(cache_dir=tmp_path / "c", **options))
    expected = {
        name.rpartition("/")[2].removesuffix(".png"): pixels
        for part in (folder.train, folder.val, folder.test)
        for name, pixels in zip(part.names, part.images, strict=True)
    }
    splits = load(**options)
    checked = 0
    for part in (splits.train, splits.val, splits.test):
        for name, pixels in zip(part.names, part.images, strict=True):
            if name in expected:
                assert np.array_equal(pixels, expected[name])
                checked += 1
    assert checked == 50
    # the second time none is resized
    monkeypatch.setattr("anytimenet.data.sources.named.in_memory.decode_all", None)
    assert load(**options).fingerprint == splits.fingerprint


def test_real_images_are_those_of_the_folder_route(shared_data, load, tmp_path):
    """Eight images of each class of CIFAR-10, written in the published form."""
    command = [sys.executable, str(shared_data / "unpack.py"), "cifar10", str(tmp_path / "folder")]
    subprocess.run([*command, "--per-class", "8"], check=True, capture_output=True)
    with zipfile.ZipFile(shared_data / "cifar10.zip") as archive:
        assert json.loads(archive.read("meta.json"))["fine_names"] == TEN
    options = {"image_size": 16, "resample": "box"}
    folder = load_data(f"folder:{tmp_path / 'folder'}", DataOptions(cache_dir=tmp_path / "c", **options))
    paths = sorted((tmp_path / "folder").glob("train/*/*.png"), key=lambda path: path.name)
    pixels = np.stack([np.array(Image.open(path)) for path in paths])
    labels = np.array([TEN.index(path.parent.name) for path in paths])
    batches = [(pixels[i::5], labels[i::5]) for i in range(5)]
    write_cifar10(tmp_path, batches, (pixels[:40], labels[:40]), "binary")
    splits = load(**options)
    order = np.concatenate([np.arange(len(paths))[i::5] for i in range(5)])
    named = {
        name: image
        for part in (folder.train, folder.val)
        for name, image in zip(part.names, part.images, strict=True)
    }
    for part in (splits.train, splits.val):
        for name, image in zip(part.names, part.images, strict=True):
            path = paths[order[int(name.removeprefix("train-"))]]
            assert np.array_equal(image, named[path.relative_to(tmp_path / "folder").as_posix()])


def test_missing_files_are_named_with_checksums_and_where_to_get_them(load, ten, tmp_path):
    with pytest.raises(DataError) as caught:
        load()
    for said in (
        "cifar-10-binary.tar.gz (md5 c32a1d4ab5d03f1284b67883e8d87530)",
        "cifar-10-python.tar.gz (md5 c58f30108f718f92721af3b95e74349a)",
        str(tmp_path),
        CIFAR10.page,
        "data_root=",
        "download=True",
    ):
        assert said in str(caught.value)
    folder = write_cifar10(tmp_path, *ten, "binary")
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"cifar-10-batches-bin lacks data_batch_3.bin\)"):
        load()


def test_damaged_files_are_refused(load, ten, tmp_path):
    folder = write_cifar10(tmp_path, *ten, "binary")
    batch = folder / "data_batch_2.bin"
    whole = batch.read_bytes()
    for content in (b"", whole[:-1], whole + b"\0"):
        batch.write_bytes(content)
        with pytest.raises(DataError, match=r"data_batch_2.bin of .*no images of 3073 bytes"):
            load()
    batch.write_bytes(b"\x0a" + whole[1:])
    with pytest.raises(DataError, match="labels up to 10 but 10 class names"):
        load()


@pytest.mark.parametrize(
    ("batch", "why"),
    [
        ({"labels": [0, 1]}, "no array of images"),
        ({"labels": [0, 1], "data": np.zeros((2, 5), np.uint8)}, "no array of images"),
        ({"labels": [0], "data": np.zeros((2, 3072), np.uint8)}, "no label for each of 2 images"),
        ({"labels": ["a", "b"], "data": np.zeros((2, 3072), np.uint8)}, "no label for each of 2 images"),
        ([1, 2], "holds no dictionary"),
    ],
)
def test_malformed_python_files_are_refused(load, ten, tmp_path, batch, why):
    folder = write_cifar10(tmp_path, *ten, "python")
    (folder / "data_batch_4").write_bytes(b"\x80\x02" + old_pickle(batch) + b".")
    with pytest.raises(DataError, match=why):
        load()


def test_a_malicious_python_file_runs_nothing(load, ten, tmp_path):
    folder = write_cifar10(tmp_path, *ten, "python")
    trace = str(tmp_path / "trace")
    (folder / "batches.meta").write_bytes(b"cos\nmkdir\n(" + b"V" + trace.encode() + b"\ntR.")
    with pytest.raises(DataError, match=r"batches.meta of .* asks for os.mkdir, which is refused"):
        load()
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("form", ["binary", "python"])
def test_no_flipped_bit_of_an_archive_gives_other_images(load, ten, tmp_path, form):
    archive = tmp_path / f"cifar-10-{form}.tar.gz"
    pack(write_cifar10(tmp_path, *ten, form), archive)
    expected, whole, refused = load().fingerprint, archive.read_bytes(), 0
    for place in np.random.default_rng(0).integers(0, len(whole), 40):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(place % 8)
        archive.write_bytes(changed)
        try:
            assert load().fingerprint == expected
        except DataError:
            refused += 1
    assert refused > 30


def test_what_is_not_the_published_file_is_told(load, ten, tmp_path, caplog):
    folder = write_cifar10(tmp_path, *ten, "python")
    load()
    assert "data_batch_1 has the md5 checksum" in caplog.text
    assert "and the published file has c99cafc152244af753f735de768cd75f" in caplog.text
    caplog.clear()
    pack(folder, tmp_path / "cifar-10-python.tar.gz")
    load()
    assert "cifar-10-python.tar.gz has the md5 checksum" in caplog.text


def test_damaged_archives_are_refused(load, ten, tmp_path):
    folder = write_cifar10(tmp_path, *ten, "binary")
    archive = tmp_path / "cifar-10-binary.tar.gz"
    pack(folder, archive)
    whole = archive.read_bytes()
    for content in (
        b"",
        whole[:20],
        whole[: len(whole) // 2],
        b"no archive at all",
        whole[:99] + whole[120:],
    ):
        archive.write_bytes(content)
        with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz"):
            load()


def test_an_archive_cannot_write_or_read_outside(load, ten, tmp_path):
    """Links and paths that leave the folder are not followed: only plain members of the known names count."""
    folder = write_cifar10(tmp_path / "made", *ten, "binary")
    archive = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            if path.name != "test_batch.bin":
                tar.add(path, f"cifar-10-batches-bin/{path.name}")
        link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(folder / "test_batch.bin")
        tar.addfile(link)
        outside = tarfile.TarInfo("../outside")
        outside.size = 4
        tar.addfile(outside, io.BytesIO(b"oops"))
    with pytest.raises(DataError, match=r"holds no cifar-10-batches-bin/test_batch.bin"):
        load()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cifar-10-binary.tar.gz", "made"]


def test_the_validation_draw_of_the_full_set_never_changes():
    """Of the published counts 5,000 are held out, 500 of each class, the same on every machine."""
    from anytimenet.data.sets.stratify import draw_part

    labels, names = np.arange(50_000) % 10, [f"train-{i:05d}" for i in range(50_000)]
    held_out = draw_part(labels, names, CIFAR10.val_fraction, 0, "val")
    assert np.bincount(labels[held_out]).tolist() == [500] * 10
    chosen = hashlib.sha256(np.flatnonzero(held_out).astype("<i8").tobytes()).hexdigest()
    assert chosen[:16] == "06e08bbac9b91673"
