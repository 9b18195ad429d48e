"""Re-estimated BatchNorm statistics are the plain mean over batches, stage by stage."""

import copy

import pytest
import torch
from torch import nn

from anytimenet.core.errors import NotFiniteError
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.nets import create_net, rebuild_net
from anytimenet.nets.contract import AnytimeNet
from anytimenet.training.statistics import reestimate_statistics


class Given:
    """Batches from a list of images."""

    def __init__(self, *batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def epoch(self, number, start=0):
        for x in self.batches[start:]:
            yield x, (torch.zeros(len(x), dtype=torch.int64),)


class OneNorm(AnytimeNet):
    """Nothing but a BatchNorm and a dropout behind it."""

    def __init__(self):
        super().__init__()
        self.num_stages, self.num_classes, self.in_channels = 1, (3,), 3
        self.norm, self.dropout, self.after = nn.BatchNorm2d(3), nn.Dropout(0.5), nn.BatchNorm2d(3)

    def forward(self, x, stages=None):
        return [(self.after(self.dropout(self.norm(x))).mean((2, 3)),)]


def images(*seeds, size=8, channels=3):
    return [
        torch.randn(6, channels, size, size, generator=torch.Generator().manual_seed(seed)) * (1 + seed)
        + seed
        for seed in seeds
    ]


def trained(name, **arguments):
    """A net whose BatchNorms hold something, in parameters and statistics."""
    torch.manual_seed(0)
    net = create_net(name, 4, **arguments)
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if key.endswith(("norm.weight", "1.weight", "2.weight", "3.weight")) and tensor.dim() == 1:
                tensor.uniform_(0.5, 1.5)
            elif key.endswith((".bias", "running_mean")):
                tensor.normal_()
            elif key.endswith("running_var"):
                tensor.uniform_(0.5, 2)
    return net.eval()


def statistics(net):
    return {k: v.clone() for k, v in net.state_dict().items() if "running" in k or "tracked" in k}


def test_statistics_are_the_means_over_batches():
    net, batches = OneNorm(), images(0, 1, 2)
    net.norm.running_mean.fill_(float("nan"))  # whatever was there is gone
    assert reestimate_statistics(net, Given(*batches)) == 3
    means = torch.stack([x.mean((0, 2, 3)) for x in batches]).mean(0)
    variances = torch.stack([x.var((0, 2, 3)) for x in batches]).mean(0)
    torch.testing.assert_close(net.norm.running_mean, means)
    torch.testing.assert_close(net.norm.running_var, variances)
    assert net.norm.num_batches_tracked == 3
    # Dropout was off, so that what it feeds is standardised but for the weights' ones.
    torch.testing.assert_close(net.after.running_mean, torch.zeros(3), atol=1e-6, rtol=0)


def test_only_statistics_change_and_modes_and_momentum_come_back():
    net = trained("isresnext_tiny")
    net.blocks[0].norm1.momentum, net.heads[1].levels[0].norm.momentum = None, 0.3
    net.blocks[0].train()
    before = {name: p.clone() for name, p in net.named_parameters()}
    reestimate_statistics(net, Given(*images(0, 1)))
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
    assert net.blocks[0].norm1.training
    assert not net.blocks[1].norm1.training
    assert net.blocks[0].norm1.momentum is None
    assert net.heads[1].levels[0].norm.momentum == 0.3
    assert all(p.grad is None for p in net.parameters())


def test_the_order_of_batches_and_an_earlier_estimate_do_not_matter():
    one, other = trained("isresnext_tiny"), trained("isresnext_tiny")
    first, second = images(0, 1)
    reestimate_statistics(one, Given(first, second))
    reestimate_statistics(other, Given(second))
    reestimate_statistics(other, Given(second, first))
    for name, tensor in statistics(one).items():
        assert torch.equal(tensor, statistics(other)[name]), name


def test_a_prefix_of_the_batches():
    one, other = trained("resnet_tiny"), trained("resnet_tiny")
    first, second = images(0, 1)
    assert reestimate_statistics(one, Given(first, second), num_batches=1) == 1
    reestimate_statistics(other, Given(first))
    assert all(torch.equal(t, statistics(other)[name]) for name, t in statistics(one).items())


@pytest.mark.parametrize("name", ["iresnext_tiny", "isresnext_tiny"])
@pytest.mark.parametrize("stage", [1, 3])
def test_the_statistics_of_a_stage_are_those_of_its_sub_network_alone(name, stage):
    net = trained(name)
    alone = net.keep((stage,))
    reestimate_statistics(net, Given(*images(0, 1)))
    reestimate_statistics(alone, Given(*images(0, 1)))
    kept = statistics(net.keep((stage,)))
    for key, tensor in statistics(alone).items():
        torch.testing.assert_close(kept[key], tensor, msg=key)


def test_stages_that_were_not_asked_for_keep_their_statistics():
    net = trained("iresnext_tiny")
    before = statistics(net)
    reestimate_statistics(net, Given(*images(0)), stages=(2,))
    for key, tensor in statistics(net).items():
        own = ".norms.1." in key or key.startswith("heads.1.")
        assert torch.equal(tensor, before[key]) != own, key


def test_shared_norms_are_refused_for_several_stages_and_nothing_is_touched():
    net = trained("iresnext_tiny", normalisation="shared")
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(ValueError, match="stages 1, 2, 3 share BatchNorms"):
        reestimate_statistics(net, Given(*images(0)))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(module.training for module in net.modules())
    assert net.blocks[0].norms[0].norm1.momentum == 0.1


def test_one_stage_of_shared_norms_fills_its_channels_only():
    net = trained("iresnext_tiny", normalisation="shared")
    before = net.blocks[0].norms[0].norm2.running_mean.clone()
    reestimate_statistics(net, Given(*images(0)), stages=(1,))
    after = net.blocks[0].norms[0].norm2.running_mean
    assert (after[:2] != before[:2]).all()
    assert torch.equal(after[2:], before[2:])


def test_no_batches_is_an_error_that_leaves_everything_as_it_was():
    net = trained("resnet_tiny")
    before = statistics(net)
    with pytest.raises(ValueError, match="no batches"):
        reestimate_statistics(net, Given())
    with pytest.raises(ValueError, match="num_batches 0"):
        reestimate_statistics(net, Given(*images(0)), num_batches=0)
    assert all(torch.equal(tensor, before[key]) for key, tensor in statistics(net).items())


def test_statistics_that_are_not_finite_are_refused_and_nothing_is_touched():
    net = trained("resnet_tiny")
    with torch.no_grad():
        next(net.parameters()).fill_(float("nan"))
    before = statistics(net)
    with pytest.raises(NotFiniteError, match="the weights are broken"):
        reestimate_statistics(net, Given(*images(0)))
    assert all(torch.equal(tensor, before[key]) for key, tensor in statistics(net).items())


class TestOwnNorms:
    """`IResNeXt.with_own_norms`."""

    @pytest.fixture
    def shared(self):
        return trained("iresnext_tiny", normalisation="shared")

    def test_predicts_what_the_shared_net_predicts(self, shared):
        (x,) = images(3)
        with torch.no_grad():
            for (ours,), (theirs,) in zip(shared.with_own_norms()(x), shared(x), strict=True):
                assert torch.equal(ours, theirs)

    def test_a_stage_re_estimated_is_the_kept_stage_re_estimated_alone(self, shared):
        own = shared.with_own_norms()
        reestimate_statistics(own, Given(*images(0, 1)))
        (x,) = images(3)
        for stage in (1, 2, 3):
            alone = shared.keep((stage,))
            reestimate_statistics(alone, Given(*images(0, 1)))
            with torch.no_grad():
                torch.testing.assert_close(own(x, (stage,))[0][0], alone(x)[0][0])
            assert not torch.equal(own(x, (stage,))[0][0], shared(x, (stage,))[0][0])

    def test_owns_its_weights_and_can_be_built_again(self, shared):
        own = shared.with_own_norms()
        before = copy.deepcopy(shared.state_dict())
        with torch.no_grad():
            for tensor in own.state_dict().values():
                tensor.zero_()
        assert all(torch.equal(v, before[k]) for k, v in shared.state_dict().items())
        assert own.origin == NetOrigin("iresnext_tiny", {"num_classes": [4], "normalisation": "own"})
        for net in (own, shared.keep((1, 3)).with_own_norms(), own.keep((1, 3))):
            shapes = {k: v.shape for k, v in rebuild_net(net.origin).state_dict().items()}
            assert shapes == {k: v.shape for k, v in net.state_dict().items()}

    def test_a_net_with_own_norms_gives_a_copy(self, shared):
        own = shared.with_own_norms()
        twin = own.with_own_norms()
        mine = {tensor.data_ptr() for tensor in own.state_dict().values()}
        assert not mine & {tensor.data_ptr() for tensor in twin.state_dict().values()}
        assert twin.state_dict().keys() == own.state_dict().keys()
