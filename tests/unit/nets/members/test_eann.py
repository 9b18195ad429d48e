"""EANN: several nets seen as one, their states, costs and origins."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from anytimenet.bundle import Bundle
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.costs import segment_macs, stage_costs
from anytimenet.nets import EANN, AnytimeNet, ChainNet, Node, create_net, net_entry, rebuild_net, register_net
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.nets.members.specs import origin_of
from anytimenet.testing import check_anytime_net
from anytimenet.testing.net_under_test import redraw

SHAPE = (3, 8, 8)


def member(name: str, keep: Sequence[int] | None = None, classes: Any = 4, **arguments: Any) -> AnytimeNet:
    net = create_net(f"{name}_tiny", classes, **arguments)
    return net if keep is None else net.keep(keep)


def three() -> EANN:
    """ResANN (stages 1-2), IS-ResNeXt (3-5), which carries the images, and I-ResNeXt (6-7)."""
    net = EANN([member("resnet_ann", (1, 3)), member("isresnext"), member("iresnext", (1, 3))])
    redraw(net, torch.Generator().manual_seed(0))
    return net.eval()


def skipping_chain() -> ChainNet:
    """Two stages, the second of which reads the images beside the features of the first."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(7, 4, 3, padding=1)

        def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.conv(torch.cat([x, h], 1))
            return y

    return ChainNet(
        [
            [Node("first", nn.Conv2d(3, 4, 3, padding=1), ("x",))],
            [Node("second", Both(), ("x", "first"))],
        ],
        exits=("first", "second"),
        heads=[nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)) for _ in range(2)],
        num_classes=(4,),
    )


# --- the contract -------------------------------------------------------------------------------------------


def test_a_sliced_net_before_a_chain_keeps_the_contract() -> None:
    check_anytime_net(EANN([member("isresnext", (1, 2)), member("resnet_ann", (1, 3))]), SHAPE, export=False)


def test_nested_grey_nets_with_two_label_levels_keep_the_contract() -> None:
    inner = EANN([member(n, (1,), (4, 2), in_channels=1) for n in ("iresnext", "isresnext")])
    outer = EANN([inner, member("resnet_ann", (1, 3), (4, 2), in_channels=1)])
    check_anytime_net(outer, (1, 9, 8), export=False)


def test_a_chain_that_reads_the_images_again_keeps_the_contract_first_and_last() -> None:
    for nets in ([skipping_chain(), member("resnet")], [member("resnet"), skipping_chain()]):
        check_anytime_net(EANN(nets), SHAPE, export=False)


def test_one_member_is_the_member() -> None:
    alone = member("isresnext")
    net = EANN([alone])
    for stage in range(4):
        specs = net.state_spec(stage, SHAPE)
        assert [s.name.removeprefix("member1.") for s in specs] == [
            s.name for s in alone.state_spec(stage, SHAPE)
        ]


# --- stages, states and costs -------------------------------------------------------------------------------


def test_stages_are_those_of_the_members_in_order() -> None:
    net = three()
    assert net.ends == (2, 5, 7)
    assert [net.place(stage) for stage in range(1, 8)] == [
        (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="from 1 to 7"):
        net.place(8)


def test_forward_gives_the_members_own_outputs_in_the_order_asked_for() -> None:
    net = three()
    x = torch.randn(2, *SHAPE)
    resann, sliced, thin = (m for m in net.members)
    truth = {1: resann(x, (1,))[0], 4: sliced(x, (2,))[0], 5: sliced(x, (3,))[0], 7: thin(x, (2,))[0]}
    for stage, output in zip((7, 4, 1, 5), net(x, (7, 4, 1, 5)), strict=True):
        torch.testing.assert_close(output, truth[stage])


def test_only_members_that_are_asked_for_run() -> None:
    net = three()
    ran: list[int] = []
    for number, inner in enumerate(net.members, 1):
        inner.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    net(torch.randn(1, *SHAPE), (6, 2, 7))
    assert ran == [3, 1]


def test_a_state_is_the_members_own_beside_the_images_that_later_members_need() -> None:
    net = three()
    names = [[spec.name for spec in net.state_spec(stage, SHAPE)] for stage in range(8)]
    sliced = ["x", "member2.u1", "member2.u2", "member2.u3", "member2.features"]
    first = [f"member1.{n.name}" for n in net.members[0].state_spec(1, SHAPE)]  # type: ignore[operator]
    assert names == [["x"], ["x", *first], ["x"], sliced, sliced, ["x"], ["member3.stem"], []]
    assert [spec.continues for spec in net.state_spec(4, SHAPE)] == [None, *sliced[1:]]


def test_a_jump_into_a_later_member_costs_what_that_member_costs_alone() -> None:
    net = three()
    sliced = net.members[1]
    assert isinstance(sliced, AnytimeNet)
    alone = segment_macs(sliced, SHAPE, [(0, 2)])[0]
    assert segment_macs(net, SHAPE, [(0, 4)]) == [alone]
    assert segment_macs(net, SHAPE, [(0, 1), (1, 4)])[1] == alone
    assert segment_macs(net, SHAPE, [(0, 3), (3, 4)])[1] == segment_macs(sliced, SHAPE, [(0, 1), (1, 2)])[1]


def test_segments_that_are_no_path_or_no_image_are_refused() -> None:
    net = three()
    with pytest.raises(ValueError, match=r"segment \(2, 3\) cannot follow stage 1"):
        segment_macs(net, SHAPE, [(0, 1), (2, 3)])
    with pytest.raises(ValueError, match="does not exist"):
        segment_macs(net, SHAPE, [(0, 8)])
    with pytest.raises(ValueError, match="without the batch"):
        segment_macs(net, (1, *SHAPE), [(0, 1)])


def test_passes_run_one_member_after_the_other_and_no_further_than_asked() -> None:
    net = three().train()
    ran: list[int] = []
    for number, inner in enumerate(net.members, 1):
        inner.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    groups = []
    for group in net.passes(torch.randn(2, *SHAPE), (4, 1, 3, 2)):
        groups.append([stage for stage, _ in group])
        ran.append(0)
        torch.stack([output[0].sum() for _, output in group]).sum().backward()
    assert groups == [[4, 3], [1, 2]]
    assert ran == [2, 0, 1, 0]  # member 1 does not run before the first group had its backward, 3 never


def test_members_without_kept_stages_go() -> None:
    kept = three().keep((1, 6, 7))
    assert kept.ends == (1, 3)
    assert {part.name.split(".")[1] for part in kept.parts()} == {"0", "1"}
    prefix = three().keep((1, 2, 3))
    assert set(prefix.state_dict()) <= set(three().state_dict())


def test_stages_without_statistics_are_counted_through() -> None:
    net = three()
    assert net.stages_without_statistics() == ()
    assert net.tracks_statistics
    net.members[1].stages_without_statistics = lambda: (1, 3)  # type: ignore[assignment]
    assert net.stages_without_statistics() == (3, 5)
    untracked = member("resnet")
    untracked.tracks_statistics = False
    assert not EANN([member("iresnext"), untracked]).tracks_statistics


# --- published and registered nets --------------------------------------------------------------------------


def test_published_costs_of_the_nets_of_figure_2d() -> None:
    with torch.device("meta"):
        net = create_net("eann_45_81_153", 100)
    assert net.ends == (21, 60, 135)
    macs = segment_macs(net, (3, 32, 32), [(0, 21), (21, 60), (60, 135)])
    assert [round(m / 1e6) for m in macs] == [388, 728, 1407]


def test_costs_of_the_small_net_in_closed_form() -> None:
    # A unit is two convolutions of 9 * 6 * 6 * 256 multiply-adds wherever it is, 1.5 where it shrinks.
    conv, stem = 9 * 6 * 6 * 256, 9 * 3 * 6 * 256
    convs, widths = [5, 5.5, 11, 11.5, 17, 23], [24, 12, 24, 12, 24, 24]
    costs = stage_costs(create_net("eann_small"), (3, 16, 16))
    assert [c.macs for c in costs] == [stem + n * conv + 10 * w for n, w in zip(convs, widths, strict=True)]
    steps = [stem + 5 * conv, stem + 5.5 * conv, 5.5 * conv, stem + 11.5 * conv, 5.5 * conv, 6 * conv]
    assert [c.macs_step for c in costs] == [s + 10 * w for s, w in zip(steps, widths, strict=True)]
    assert [c.macs for c in stage_costs(create_net("eann"), (3, 16, 16))] == [c.macs for c in costs]


# --- how it is built again ----------------------------------------------------------------------------------


def again(net: AnytimeNet) -> AnytimeNet:
    origin = origin_of(net)
    assert origin is not None
    return rebuild_net(NetOrigin(**json.loads(json.dumps(vars(origin)))))


def test_joined_nets_are_built_again_from_json_also_after_keep() -> None:
    for net in (three(), three().keep((2, 3, 5, 7)).keep((1, 3))):
        twin = again(net)
        twin.load_state_dict(net.state_dict())
        assert twin.parts() == net.parts()


def test_defaults_of_the_members_are_spelt_out() -> None:
    for net in (EANN([member("resnet_ann"), member("isresnext", (1, 3))]), create_net("eann_small")):
        origin = origin_of(net)
        assert origin is not None
        first = origin.arguments["members"][0]
        assert {"units", "width", "stack", "exits_after"} <= set(first["arguments"])
        assert json.loads(json.dumps(origin.arguments))["init"] == "msra"


def nested() -> tuple[AnytimeNet, ...]:
    """The same EANN inside another one: built by name, joined by hand and both, three deep."""
    inner = [
        {"name": "resnet_ann_tiny", "arguments": {"init": "pytorch"}, "keep": [3]},
        {"name": "resnet_tiny"},
    ]
    spec = {"name": "eann", "arguments": {"members": inner}}
    by_name = create_net("eann", (4,), members=[spec, {"name": "eann_tiny", "keep": [1, 4]}], in_channels=1)
    by_hand = EANN(
        [
            EANN(
                [member("resnet_ann", (3,), init="pytorch", in_channels=1), member("resnet", in_channels=1)]
            ),
            member("eann", (1, 4), in_channels=1),
        ]
    )
    return (
        by_name,
        by_hand,
        EANN([copy.deepcopy(by_hand), create_net("eann", 4, members=[spec], in_channels=1)]),
    )


@pytest.mark.parametrize("which", [0, 1, 2])
def test_nested_members_are_built_again_with_their_defaults_at_every_depth(
    which: int, tmp_path: Path
) -> None:
    net = nested()[which]
    twin, origin = again(net), origin_of(net)
    assert {name: t.shape for name, t in twin.state_dict().items()} == {
        name: t.shape for name, t in net.state_dict().items()
    }
    assert twin.parts() == net.parts()
    assert origin is not None
    leaves = leaves_of(origin.arguments["members"])
    assert [leaf["name"] for leaf in leaves][:3] == ["resnet_ann_tiny", "resnet_tiny", "resnet_ann_tiny"]
    assert leaves[0]["arguments"]["init"] == "pytorch"
    for leaf in leaves:
        known = inspect.signature(net_entry(leaf["name"]).build).parameters
        assert set(known) - {"num_classes", "in_channels", "init"} <= set(leaf["arguments"])
    look = Preprocessing(8, 8, 1, mean=(0.5,), std=(0.5,))
    Bundle.create(net, class_names=[list("abcd")], preprocessing=look).save(tmp_path / "b")
    x = torch.randn(2, 1, 8, 8)
    loaded = Bundle.load(tmp_path / "b", stages=3).net
    torch.testing.assert_close(loaded(x), net.eval()(x)[:3])


def leaves_of(members: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The members that are no EANN, however deep."""
    return [
        leaf
        for spec in members
        for leaf in (leaves_of(spec["arguments"]["members"]) if "members" in spec["arguments"] else [spec])
    ]


def test_an_own_builder_of_an_eann_needs_no_members_among_its_arguments() -> None:
    def pair(num_classes: tuple[int, ...], width: int = 4) -> AnytimeNet:
        return EANN([member("resnet", width=width), member("resnet", width=2 * width)])

    register_net("pair", input_shape=SHAPE, summary="for this test")(pair)
    net = create_net("pair", 4)
    assert again(net).state_dict().keys() == net.state_dict().keys()
    assert again(EANN([net])).state_dict().keys() == EANN([net]).state_dict().keys()


def test_a_member_built_by_hand_leaves_no_origin() -> None:
    assert EANN([skipping_chain(), member("resnet")]).origin is None


def test_classes_channels_and_init_are_passed_on_unless_a_member_says_otherwise() -> None:
    specs = [{"name": "resnet_ann_tiny"}, {"name": "isresnext_tiny", "arguments": {"init": "pytorch"}}]
    net = create_net("eann", (6, 2), members=specs, in_channels=1)
    assert (net.num_classes, net.in_channels) == ((6, 2), 1)
    biases = [
        sum(float(m.bias.detach().abs().sum()) for m in part.modules() if isinstance(m, nn.Linear))
        for part in net.members  # type: ignore[union-attr]
    ]
    assert biases[0] == 0
    assert biases[1] > 0


@pytest.mark.parametrize("init", ["msra", "pytorch"])
def test_weights_are_drawn_anew_as_the_members_were_built(init: str) -> None:
    for net in (EANN([member("resnet_ann", init=init), member("iresnext", init=init)]),
                create_net("eann_tiny", init=init)):  # fmt: skip
        with torch.no_grad():
            for tensor in net.state_dict().values():
                tensor.fill_(7)
        draw_weights(net)
        linears = [m for m in net.modules() if isinstance(m, nn.Linear)]
        assert all((m.bias == 0).all().item() == (init == "msra") for m in linears)
        assert not any((p == 7).any() for p in net.parameters())


@pytest.mark.parametrize("stages", [1, 4, 6])
def test_a_saved_net_loads_whole_or_its_first_stages(stages: int, tmp_path: Path) -> None:
    net = three()
    look = Preprocessing(8, 8, 3, mean=(0.5,) * 3, std=(0.5,) * 3)
    Bundle.create(net, class_names=[list("abcd")], preprocessing=look).save(tmp_path / "b")
    x = torch.randn(2, *SHAPE)
    loaded = Bundle.load(tmp_path / "b", stages=stages).net
    assert isinstance(loaded, EANN)
    assert len(loaded.members) == net.place(stages)[0]
    torch.testing.assert_close(loaded(x), net(x)[:stages])


# --- what is refused ----------------------------------------------------------------------------------------


def test_nets_that_do_not_belong_together_are_refused() -> None:
    net = member("resnet")
    for members, message in (
        ([], "at least one member"),
        ([net, member("resnet", classes=5)], r"member 2 predicts \(5,\) classes and member 1 \(4,\)"),
        ([net, member("resnet", in_channels=1)], "member 2 reads 1-channel images"),
        ([net, net], "member 2 shares weights with member 1"),
    ):
        with pytest.raises(ValueError, match=message):
            EANN(members)
    with pytest.raises(TypeError, match="not a Linear"):
        EANN([net, nn.Linear(2, 2)])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("resnet_ann_tiny", "a list of objects is needed"),
        ([], "a list of objects is needed"),
        (["resnet_ann_tiny"], "member 1 is 'resnet_ann_tiny': an object is needed"),
        ([{"keep": [1]}], 'member 1 has no "name"'),
        ([{"name": "resnet_tiny"}, {"name": "resnet_tiny", "kept": [1]}], "'kept': did you mean 'keep'"),
        ([{"name": "resnet_ann_tinny"}], "member 1 cannot be built.*did you mean 'resnet_ann_tiny'"),
        ([{"name": "resnet_tiny", "arguments": {"widht": 2}}], "member 1 .*did you mean 'width'"),
        ([{"name": "resnet_tiny", "arguments": [2]}], '"arguments" an object'),
        ([{"name": "resnet_tiny", "arguments": {"num_classes": 3}}], "that of the whole net"),
        ([{"name": "resnet_ann_tiny", "keep": [3, 1]}], "member 1 .*an increasing list of stages"),
        ([{"name": "resnet_ann_tiny", "keep": 3}], '"keep" is a list of stages'),
        *(
            (
                [{"name": "resnet_tiny"}, {"name": "resnet_tiny", "keep": [one]}],
                'member 2: "keep" is a list of',
            )
            for one in (1.5, 1.0, "1", None, True)
        ),
        (
            [{"name": "resnet_tiny", "keep": []}],
            "member 1 cannot be built: stages must be an incr",
        ),
        ([{"name": "resnet_tiny", "keep": [0]}], "member 1 cannot be built"),
        ([{"name": "resnet_tiny", "arguments": {"init": None}}], "member 1 cannot be built: .* named None"),
        ([{"name": "resnet_tiny", "arguments": {1: 2}}], "member 1: .* go by name, and 1 is none"),
        *(  # type: ignore[var-annotated]
            ([{"name": "resnet_tiny", "arguments": none}], 'member 1: .*"arguments" an object')
            for none in ("", 0, False, [])
        ),
        ([{"name": "broken"}], "member 1 cannot be built: unsupported operand"),
        (
            [{"name": "eann", "arguments": {"members": [{"name": "resnet_tiny", "keep": ["1"]}]}}],
            'member 1 cannot be built: member 1: "keep" is a list',
        ),
    ],
)
def test_members_that_are_none_are_refused(members: Any, message: str) -> None:
    register_net("broken", input_shape=SHAPE, summary="for this test")(lambda num_classes: 1 + "a")  # type: ignore[arg-type, operator, return-value]
    with pytest.raises(ValueError, match=message):
        create_net("eann", members=members)


def test_other_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="in_channels 0"):
        create_net("eann", in_channels=0)
    with pytest.raises(ValueError, match="no initialisation is named 'mrsa'"):
        create_net("eann", init="mrsa")


def test_a_bundle_spells_out_the_defaults_of_members_and_keeps_what_they_say() -> None:
    spec = [{"name": "resnet_tiny", "arguments": {"init": "pytorch"}}, {"name": "isresnext_tiny"}]
    told = origin_of(create_net("eann", (4,), members=spec))
    assert told is not None
    first, second = told.arguments["members"]
    assert first["arguments"] == {"init": "pytorch", "width": 4, "blocks": [1, 1, 1]}
    assert second["arguments"]["branch_width"] == 2
    assert "init" not in second["arguments"]
    assert rebuild_net(told).state_dict().keys() == create_net("eann", (4,), members=spec).state_dict().keys()


def test_every_member_is_drawn_anew_by_its_own_init() -> None:
    spec = [{"name": "resnet_tiny", "arguments": {"init": "pytorch"}}, {"name": "isresnext_tiny"}]
    net = create_net("eann", (4,), members=spec)
    torch.manual_seed(3)
    draw_weights(net)
    torch.manual_seed(3)
    apart = [create_net("resnet_tiny", (4,), init="pytorch"), create_net("isresnext_tiny", (4,))]
    torch.manual_seed(3)
    for member in apart:
        draw_weights(member)
    joined = EANN(apart).state_dict()
    assert all(torch.equal(tensor, joined[name]) for name, tensor in net.state_dict().items())


def learning(net: nn.Module) -> list[bool]:
    """Of each BatchNorm, whether it takes the statistics of its batch."""
    return [part.training for part in net.modules() if isinstance(part, nn.BatchNorm2d)]


def test_a_net_with_own_norms_stays_in_the_mode_of_its_members():
    members = [create_net("iresnext_tiny", 4, normalisation="shared"), create_net("isresnext_tiny", 4)]
    own = EANN(members).eval().with_own_norms()
    assert not any(learning(own))
    assert not any(learning(own.keep((2, 5))))
    members[1].train()
    mixed = EANN(members).with_own_norms().keep((2, 5))
    assert [set(learning(member)) for member in mixed.whole_nets()] == [{False}, {True}]


def test_members_in_eval_mode_are_kept_in_it():
    net = EANN([create_net("iresnext_tiny", 4).eval(), create_net("isresnext_tiny", 4).eval()])
    assert not any(learning(net.keep((2, 5))))
