"""EANN in training: the same as its members trained apart; statistics that are estimated after."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from anytimenet.core.errors import StatisticsMissingError
from anytimenet.data import DataOptions, load_data
from anytimenet.nets import EANN, AnytimeNet, create_net
from anytimenet.training import TrainConfig
from anytimenet.workflows import fit, join_bundles

CONFIG = TrainConfig(epochs=1, batch_size=32, lr=0.1, schedule="cosine")


@pytest.fixture(scope="module")
def few() -> Any:
    """Some digits."""
    return load_data("digits", DataOptions(limit=320))


def grey(name: str, **arguments: Any) -> AnytimeNet:
    return create_net(f"{name}_tiny", 10, in_channels=1, **arguments)


def thin_and_wide() -> list[AnytimeNet]:
    torch.manual_seed(0)
    return [grey("resnet_ann", width=2), grey("resnet_ann", width=4, stack=2)]


def unestimated() -> EANN:
    """Stages 1 to 3 track their statistics, 4 to 6 do not."""
    torch.manual_seed(0)
    return EANN([grey("resnet_ann", width=2), grey("universally_slimmable")]).eval()


def largest_difference(one: AnytimeNet, other: AnytimeNet) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def test_members_trained_together_and_apart_are_the_same_unless_a_rule_couples_them(few: Any) -> None:
    apart = [fit(member, few, config=CONFIG) for member in thin_and_wide()]
    before, trained = EANN(thin_and_wide()), join_bundles(apart)
    together = fit(EANN(thin_and_wide()), few, config=CONFIG)
    assert largest_difference(before, trained.net) > 0.01
    assert largest_difference(together.net, trained.net) < 1e-6
    scores = [[r.val_accuracy for r in bundle.manifest.stages] for bundle in (together, trained)]
    assert scores[0] == scores[1]
    # The stages of a member have other places among five than among three or two.
    by_place = fit(EANN(thin_and_wide()), few, config=replace(CONFIG, scheme="linear"))
    assert largest_difference(by_place.net, trained.net) > 1e-4


def test_a_member_without_statistics_is_told_with_the_stage_numbers_of_the_whole_net() -> None:
    net, x = unestimated(), torch.zeros(4, 1, 8, 8)
    assert not net.tracks_statistics
    assert net.stages_without_statistics() == (4, 5, 6)
    assert [len(output) for output in net(x, (1, 3))] == [1, 1]
    cure = r"of member 2 have not .*an\.reestimate\(bundle\), or of a net alone training\.statistics"
    with pytest.raises(StatisticsMissingError, match=rf"^stages 6, 5 cannot predict.*{cure}"):
        net(x, (6, 1, 5))
    passes = net.passes(x, (2, 4))
    assert [stage for stage, _ in next(passes)] == [2]
    with pytest.raises(StatisticsMissingError, match=rf"^stage 4 cannot predict.*{cure}"):
        next(passes)
    for start in (0, 2, 4):
        with pytest.raises(StatisticsMissingError, match=rf"^stage 5 cannot predict.*{cure}"):
            net.segment(start, 5)
    net.segment(1, 3)
    kept = net.keep((2, 4, 6))
    with pytest.raises(StatisticsMissingError, match=r"^stages 2, 3 cannot predict"):
        kept(x)
    outer = EANN([grey("resnet_ann", width=1), net])
    with pytest.raises(StatisticsMissingError, match=r"^stages 8, 9 cannot predict.* of member 2 "):
        outer.eval()(x, (8, 9))
    assert len(net.train()(x)) == 6


def test_training_leaves_statistics_wherever_they_are_missing(few: Any) -> None:
    net = unestimated()
    first = copy.deepcopy(net.members[0])
    bundle = fit(net, few, config=CONFIG)
    assert net.stages_without_statistics() == ()
    assert [bundle.predict(few.test.images[0], stage=k).stage for k in (1, 6)] == [1, 6]
    # Statistics that the first member tracks are those of its training, not estimates.
    assert isinstance(first, AnytimeNet)
    alone = fit(first, few, config=CONFIG)
    member = dict(net.members[0].named_buffers())
    for name, buffer in alone.net.named_buffers():
        torch.testing.assert_close(member[name], buffer)
