"""Paths are what segments allow, and the shortest is found."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.runtime.paths import check_path, path_to, steps_to

K = 5
EVERY = [(a, z) for a in range(K) for z in range(a + 1, K + 1)]


def all_paths(at, stage, stop, segments):
    """Every list of segments from `at` that goes to `stop` without a start over."""
    stops = range(stage + 1, stop)
    for count in range(len(stops) + 1):
        for chosen in itertools.combinations(stops, count):
            path = list(itertools.pairwise([at, *chosen, stop]))
            if all(segment in segments for segment in path):
                yield path


@given(st.sets(st.sampled_from(EVERY)), st.integers(0, K - 1), st.integers(1, K), st.booleans())
def test_the_path_to_a_stage_has_the_fewest_segments(segments, stage, stop, holds_state):
    at = stage if holds_state else 0
    known = list(all_paths(at, stage, stop, segments)) or list(all_paths(0, stage, stop, segments))
    if stop <= stage or not known:
        with pytest.raises(ValueError, match=r"not ahead|no segments lead to"):
            path_to(stop, at, stage, segments)
        return
    found = path_to(stop, at, stage, segments)
    assert len(found) == min(map(len, known))
    assert check_path(found, at, stage, segments) == found
    assert list(found) in known


@given(st.sets(st.sampled_from(EVERY)), st.integers(0, K - 1))
def test_steps_stop_wherever_a_segment_leads(segments, stage):
    path = steps_to(K, stage, stage, segments)
    assert check_path(path, stage, stage, segments) == path
    at = stage
    for _, stop in path:
        assert not [z for a, z in segments if a in (0, at) and at < z < stop]
        at = stop
