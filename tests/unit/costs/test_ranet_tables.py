"""RANet's published forms: costs and parameters of every exit to the last digit, and all widths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from anytimenet.costs import count
from anytimenet.nets import create_net
from anytimenet.nets.chain.chain import ChainNet

# What the authors' code counts: multiply-adds (the `msd` convention, resizing free) and parameters up to each
# exit. The test form is the one at the end of the authors' module.
TEST_FORM = ("ranet_imagenet_wide", (("channels", 64),))
EXITS = {
    ("ranet_cifar_8", 10): (
        "15814410 31283220 44655390 50358312 60654578 63647996 90173958 94904592",
        "470442 1073780 1476756 1868414 2165612 2453494 2871636 3261830",
    ),
    ("ranet_cifar_8", 100): (
        "15826020 31306440 44690220 50404752 60712628 63717656 90255228 94997472",
        "482052 1097000 1511586 1914854 2223662 2523154 2952906 3354710",
    ),
    ("ranet_cifar_6_growing", 10): (
        "8360714 21765140 32844062 41523752 53225778 58921020",
        "347050 876660 1270165 1754271 2130143 2547601",
    ),
    ("ranet_cifar_6_growing", 100): (
        "8372324 21788360 32878892 41570192 53283828 58990680",
        "358660 899880 1304995 1800711 2188193 2617261",
    ),
    ("ranet_cifar_6", 10): (
        "13438730 28907540 42279710 47982632 58278898 61272316",
        "468106 .. 2451158",
    ),
    ("ranet_imagenet", 1000): (
        "168066600 520465424 731890809 903794197 1052251864 1118803728 1589013903 1680979979",
        "8090920 33314832 42982814 58901892 63997294 70852502 78532931 87972617",
    ),
    ("ranet_imagenet_wide", 1000): (
        "246472360 631164048 860403190 1041144878 1869847124 2160379452 2734279235 2828311039",
        "9916712 37916432 48345820 65121348 85601768 113060656 121474513 131123991",
    ),
    (TEST_FORM, 1000): (
        "434968808 888669904 1153356020 1352449308 2279913603 2588473759 3235517799 3333484943",
        "14083432 .. 149144186",
    ),
}

# flow, block, side of the image (a->b where the block shrinks), channels in, layers x growth = own +
# borrowed, channels behind the layers, of the tail, behind the transition, out, and whether there is an exit.
WIDTHS = {
    "ranet_cifar_8": """
     1  1       8    64   4 x 24               160    -     -   160  yes
     1  2       8   160   4 x 24               256    -     -   256  yes
     2  1      16    32   4 x 12 = 9 + 3        80   20     -   100  -
     2  2   16->8   100   4 x 12 = 9 + 3       148   37    92    92  -
     2  3       8    92   4 x 12               140    -     -   140  yes
     2  4       8   140   4 x 12               188    -     -   188  yes
     3  1      32    16   4 x 6 = 5 + 1         40   10     -    50  -
     3  2  32->16    50   4 x 6 = 5 + 1         74   18    46    46  -
     3  3      16    46   4 x 6 = 5 + 1         70   17     -    87  -
     3  4   16->8    87   4 x 6 = 5 + 1        111   27    69    69  -
     3  5       8    69   4 x 6                 93    -     -    93  yes
     3  6       8    93   4 x 6                117    -     -   117  yes
     4  1      32    16   4 x 6 = 5 + 1         40   10     -    50  -
     4  2      32    50   4 x 6 = 5 + 1         74   18    46    46  -
     4  3      32    46   4 x 6 = 5 + 1         70   17     -    87  -
     4  4  32->16    87   4 x 6 = 5 + 1        111   27     -   138  -
     4  5      16   138   4 x 6 = 5 + 1        162   40   101   101  -
     4  6   16->8   101   4 x 6 = 5 + 1        125   31     -   156  -
     4  7       8   156   4 x 6                180    -     -   180  yes
     4  8       8   180   4 x 6                204    -     -   204  yes""",
    "ranet_cifar_6_growing": """
     1  1       8    64   2 x 24               112    -     -   112  yes
     1  2       8   112   4 x 24               208    -     -   208  yes
     2  1      16    32   2 x 12 = 9 + 3        56   14     -    70  -
     2  2   16->8    70   4 x 12 = 9 + 3       118   29    73    73  -
     2  3       8    73   6 x 12               145    -     -   145  yes
     2  4       8   145   8 x 12               241    -     -   241  yes
     3  1      32    16   2 x 6 = 5 + 1         28    7     -    35  -
     3  2  32->16    35   4 x 6 = 5 + 1         59   14    36    36  -
     3  3      16    36   6 x 6 = 5 + 1         72   18     -    90  -
     3  4   16->8    90   8 x 6 = 5 + 1        138   34    86    86  -
     3  5       8    86   10 x 6               146    -     -   146  yes
     3  6       8   146   12 x 6               218    -     -   218  yes""",
    "ranet_imagenet": """
     1  1       7    64   8 x 64               576    -     -   576  yes
     1  2       7   576   8 x 64              1088    -     -  1088  yes
     2  1      14    32   8 x 32 = 24 + 8      288   72     -   360  -
     2  2   14->7   360   8 x 32 = 24 + 8      616  154   385   385  -
     2  3       7   385   8 x 32               641    -     -   641  yes
     2  4       7   641   8 x 32               897    -     -   897  yes
     3  1      28    16   8 x 16 = 12 + 4      144   36     -   180  -
     3  2  28->14   180   8 x 16 = 12 + 4      308   77   192   192  -
     3  3      14   192   8 x 16 = 12 + 4      320   80     -   400  -
     3  4   14->7   400   8 x 16 = 12 + 4      528  132   330   330  -
     3  5       7   330   8 x 16               458    -     -   458  yes
     3  6       7   458   8 x 16               586    -     -   586  yes
     4  1      56    16   8 x 16 = 12 + 4      144   36     -   180  -
     4  2  56->28   180   8 x 16 = 12 + 4      308   77   192   192  -
     4  3      28   192   8 x 16 = 12 + 4      320   80     -   400  -
     4  4  28->14   400   8 x 16 = 12 + 4      528  132   330   330  -
     4  5      14   330   8 x 16 = 12 + 4      458  114     -   572  -
     4  6   14->7   572   8 x 16 = 12 + 4      700  175   437   437  -
     4  7       7   437   8 x 16               565    -     -   565  yes
     4  8       7   565   8 x 16               693    -     -   693  yes""",
    "ranet_imagenet_wide": """
     1  1       7   128   8 x 64               640    -     -   640  yes
     1  2       7   640   8 x 64              1152    -     -  1152  yes
     2  1      14    64   8 x 32 = 24 + 8      320   80     -   400  -
     2  2   14->7   400   8 x 32 = 24 + 8      656  164   410   410  -
     2  3       7   410   8 x 32               666    -     -   666  yes
     2  4       7   666   8 x 32               922    -     -   922  yes
     3  1      28    64   8 x 32 = 24 + 8      320   80     -   400  -
     3  2  28->14   400   8 x 32 = 24 + 8      656  164   410   410  -
     3  3      14   410   8 x 32 = 24 + 8      666  166     -   832  -
     3  4   14->7   832   8 x 32 = 24 + 8     1088  272   680   680  -
     3  5       7   680   8 x 32               936    -     -   936  yes
     3  6       7   936   8 x 32              1192    -     -  1192  yes
     4  1      56    32   8 x 16 = 12 + 4      160   40     -   200  -
     4  2  56->28   200   8 x 16 = 12 + 4      328   82   205   205  -
     4  3      28   205   8 x 16 = 12 + 4      333   83     -   416  -
     4  4  28->14   416   8 x 16 = 12 + 4      544  136   340   340  -
     4  5      14   340   8 x 16 = 12 + 4      468  117     -   585  -
     4  6   14->7   585   8 x 16 = 12 + 4      713  178   445   445  -
     4  7       7   445   8 x 16               573    -     -   573  yes
     4  8       7   573   8 x 16               701    -     -   701  yes""",
}


@pytest.mark.parametrize(("form", "classes"), EXITS)
def test_every_exit_costs_what_the_authors_count(form: Any, classes: int) -> None:
    costs, params = EXITS[form, classes]
    run, stored = _run(form, classes), [0]
    for block, head in zip(run.net.blocks, run.net.heads, strict=True):
        stored.append(stored[-1] + sum(p.numel() for p in (*block.parameters(), *head.parameters())))
    assert " ".join(map(str, run.costs)) == costs
    assert params in (" ".join(map(str, stored[1:])), f"{stored[1]} .. {stored[-1]}")


@pytest.mark.parametrize(("form", "classes"), [key for key in EXITS if key[0] in WIDTHS and key[1] != 100])
def test_every_block_has_the_published_widths(form: str, classes: int) -> None:
    run = _run(form, classes)
    rows = [line.split() for line in WIDTHS[form].strip().splitlines()]
    assert len([name for name in run.nodes if name.endswith("_layer1")]) == len(rows)
    for flow, number, *row in rows:
        assert _row(run, f"flow{flow}_block{number}") == row


def _row(run: _Run, prefix: str) -> list[str]:
    """A row of `WIDTHS`, behind flow and block, read off the nodes of the block `prefix`."""
    inputs = {link.name: link.inputs[0] for link in run.net.graph.links}
    layers = [name for name in run.nodes if name.startswith(f"{prefix}_layer")]
    read, end = run.shapes[inputs[layers[0]]], run.shapes[layers[-1]]
    first = run.nodes[layers[0]]
    own = first.same.conv2.out_channels
    borrowed = 0 if first.up is None else first.up.conv2.out_channels
    assert {run.shapes[name][0] - run.shapes[inputs[name]][0] for name in layers} == {own + borrowed}
    tail, narrowed = run.shapes.get(f"{prefix}_tail"), run.shapes.get(f"{prefix}_transition")
    last = [name for name in run.nodes if name.startswith(f"{prefix}_")][-1]
    return [
        f"{read[1]}" if read[1:] == end[1:] else f"{read[1]}->{end[1]}",
        f"{read[0]}",
        *f"{len(layers)} x {own + borrowed}".split(),
        *(f"= {own} + {borrowed}".split() if borrowed else ()),
        f"{end[0]}",
        "-" if tail is None else f"{tail[0] - end[0]}",
        "-" if narrowed is None else f"{narrowed[0]}",
        f"{run.shapes[last][0]}",
        "yes" if last in run.net.graph.exits else "-",
    ]


@dataclass(frozen=True)
class _Run:
    """A form that has run once on the meta device: costs up to each exit, nodes, shapes of their tensors."""

    net: ChainNet
    costs: list[int]
    nodes: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


@cache
def _run(form: Any, classes: int) -> _Run:
    name, overrides = (form, ()) if isinstance(form, str) else form
    shape = (3, 224, 224) if "imagenet" in name else (3, 32, 32)
    with torch.device("meta"):
        net, image = create_net(name, classes, **dict(overrides)).eval(), torch.empty(1, *shape)
    assert isinstance(net, ChainNet)
    nodes = {name: module for block in net.blocks for name, module in block.named_children()}
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, module: nn.Module, inputs: Any, result: Tensor) -> None:
        shapes[name] = tuple(result.shape[1:])

    for name, module in nodes.items():
        module.register_forward_hook(partial(note, name))
    costs: list[Any] = []
    states: list[Any] = [(image,)]

    def step(block: nn.Module, head: nn.Module) -> None:
        states.append(block(states[-1]))
        head(states[-1])

    for block, head in zip(net.blocks, net.heads, strict=True):
        costs.append(count(step, block, head).msd + sum(costs[-1:]))
    return _Run(net, costs, nodes, shapes)
