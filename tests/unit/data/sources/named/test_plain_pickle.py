"""Pickles are read as plain values and byte arrays; nothing that they name ever runs."""

import os
import pickle
import subprocess

import numpy as np
import pytest

from anytimenet.core.errors import DataError
from anytimenet.data.sources.named.plain_pickle import load_plain

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dictionaries_of_values_and_arrays_come_back(protocol, order):
    value = {"data": np.asarray(PIXELS, order=order), "labels": [3, 0, 7], "batch_label": "training 1 of 5"}
    read = load_plain(pickle.dumps(value, protocol), "a file")
    assert np.array_equal(read.pop("data"), PIXELS)
    assert read == {"labels": [3, 0, 7], "batch_label": "training 1 of 5"}
    assert np.array_equal(load_plain(pickle.dumps(PIXELS, protocol), "a file"), PIXELS)


class Runs:
    """Pickled as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("function", "said"),
    [(os.mkdir, r"\.mkdir"), (eval, r"builtin.*\.eval"), (exec, r"builtin.*\.exec")],
)
def test_a_malicious_pickle_runs_nothing(tmp_path, monkeypatch, protocol, function, said):
    monkeypatch.chdir(tmp_path)
    argument = "trace" if function is os.mkdir else "__import__('os').mkdir('trace')"
    data = pickle.dumps({"data": PIXELS.tolist(), "labels": Runs(function, argument)}, protocol)
    with pytest.raises(DataError, match=said) as caught:
        load_plain(data, "meta of cifar")
    assert "meta of cifar asks for" in str(caught.value)
    assert not (tmp_path / "trace").exists()
    pickle.loads(data)
    assert (tmp_path / "trace").exists()  # it was malicious indeed


@pytest.mark.parametrize(
    "harmless_looking",
    [
        np.dtype,
        np.load,
        np.frombuffer,
        np.ndarray.__reduce__,
        subprocess.Popen,
        pickle.loads,
        getattr,
        type,
        bytearray,
        print,
    ],
)
def test_only_the_names_of_arrays_are_admitted(harmless_looking):
    data = pickle.dumps(harmless_looking)
    if harmless_looking is np.dtype:
        assert load_plain(data, "a file") is not np.dtype  # a stand-in
        return
    with pytest.raises(DataError, match="which is refused: it may run code"):
        load_plain(data, "a file")


def test_the_stand_ins_cannot_be_changed_by_a_pickle():
    """BUILD on the stand-in itself, as an attacker would try before a second file is read."""
    state = pickle.dumps((None, {"__setstate__": 1}))[2:-1]
    for name in (b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n"):
        with pytest.raises(DataError, match="damaged"):
            load_plain(b"\x80\x04" + name + state + b"b.", "a file")
    assert np.array_equal(load_plain(pickle.dumps(PIXELS), "a file"), PIXELS)


@pytest.mark.parametrize(
    "array",
    [np.array([1.5]), np.array([[1, 2]], np.int64), np.array([{}, []], dtype=object), np.array(["a"])],
)
def test_arrays_of_anything_but_bytes_are_refused(array):
    with pytest.raises(DataError, match="no array of bytes"):
        load_plain(pickle.dumps({"data": array}, 4), "a file")


def test_a_shape_that_the_bytes_do_not_fill_is_refused():
    data = pickle.dumps(np.zeros(7, np.uint8), 4).replace(b"K\x07\x85", b"K\x09\x85")
    with pytest.raises(DataError, match="no array of bytes"):
        load_plain(data, "a file")


def test_damage_is_one_line():
    whole = pickle.dumps({"data": PIXELS, "labels": [1, 2, 3]}, 4)
    for end in range(len(whole)):
        with pytest.raises(DataError, match="a file"):
            load_plain(whole[:end], "a file")
