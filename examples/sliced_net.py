"""The whole idea of a sliced net in 100 lines of plain PyTorch: python examples/sliced_net.py

The channels of every layer are cut into slices. Slice k of a layer reads slices 1..k of the layer before and
never a later one, so slices 1..k are a network of their own: a thin one that predicts early. Training runs
all slices in one pass, with a loss for each. A run computes slice 1, answers, and may stop; whoever has more
time computes slice 2 on what slice 1 left behind, and gets bit for bit what an uninterrupted run gets.

The library does the same for real nets: `anytimenet.create_net("isresnext_47")`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

SLICES = (8, 8, 16)  # channels of each slice
EDGES = (0, 8, 16, 32)  # where they begin and end
GROUP = 4  # channels that one group of a 3x3 convolution sees; slices are whole groups


class TriangularConv(nn.Module):
    """1x1 convolution: slice k of the output reads slices 1..k of the input.

    Only what lies on and below the diagonal is stored: row block k has weights for EDGES[k + 1] channels.
    """

    def __init__(self) -> None:
        super().__init__()
        shapes = [(out, EDGES[k + 1], 1, 1) for k, out in enumerate(SLICES)]
        self.rows = nn.ParameterList(nn.init.kaiming_normal_(torch.empty(shape)) for shape in shapes)

    def forward(self, x: Tensor) -> Tensor:
        """All slices in one dense convolution: the fast way to train."""
        rows = [F.pad(row, (0, 0, 0, 0, 0, EDGES[-1] - row.shape[1])) for row in self.rows]
        return F.conv2d(x, torch.cat(rows))

    def slice(self, x: Tensor, k: int) -> Tensor:
        """Slice k alone, from slices 1..k of the input."""
        return F.conv2d(x, self.rows[k])


class Block(nn.Module):
    """Triangular 1x1 and grouped 3x3 convolution around a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        width = EDGES[-1]
        self.mix, self.norm1 = TriangularConv(), nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width // GROUP, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(self.mix(x)))
        return F.relu(x + self.norm2(self.conv(h)))

    def slice(self, before: list[Tensor], k: int) -> Tensor:
        """Slice k of the output from slices 1..k of the input."""
        h = F.relu(_normed(self.norm1, self.mix.slice(torch.cat(before, 1), k), k))
        h = F.conv2d(h, _rows(self.conv.weight, k), padding=1, groups=SLICES[k] // GROUP)
        return F.relu(before[k] + _normed(self.norm2, h, k))


class SlicedNet(nn.Module):
    """Three predictions from one set of weights; prediction k uses slices 1..k of every layer."""

    def __init__(self, blocks: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, EDGES[-1], 3, padding=1)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.heads = nn.ModuleList(nn.Linear(edge, classes) for edge in EDGES[1:])

    def forward(self, x: Tensor) -> list[Tensor]:
        """The logits of all three, in one pass."""
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        features = x.mean((2, 3))
        return [head(features[:, : head.in_features]) for head in self.heads]

    @torch.no_grad()
    def resume(self, x: Tensor, left: list[list[Tensor]]) -> tuple[Tensor, list[list[Tensor]]]:
        """Computes the next slice of every layer: the logits, and what is left behind for the one after.

        `left[i]` has the slices of the input of block i that earlier calls computed; `[]` at first.
        """
        k = len(left[0]) if left else 0
        h = F.relu(F.conv2d(x, _rows(self.stem.weight, k), _rows(self.stem.bias, k), padding=1))
        now = []
        for i, block in enumerate(self.blocks):
            now.append([*(left[i] if left else []), h])
            h = block.slice(now[-1], k)
        now.append([*(left[-1] if left else []), h])
        return self.heads[k](torch.cat(now[-1], 1).mean((2, 3))), now


def _rows(tensor: Tensor, k: int) -> Tensor:
    return tensor[EDGES[k] : EDGES[k + 1]]


def _normed(norm: nn.BatchNorm2d, h: Tensor, k: int) -> Tensor:
    tensors = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, var, weight, bias = (_rows(tensor, k) for tensor in tensors)
    return F.batch_norm(h, mean, var, weight, bias, eps=norm.eps)


def train(net: SlicedNet, images: Tensor, labels: Tensor, epochs: int = 12) -> None:
    """One optimiser, one pass a batch, the sum of three losses."""
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            loss = sum(F.cross_entropy(logits, labels[batch]) for logits in net(images[batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main() -> list[float]:
    """Trains, and runs one image slice by slice; the accuracies of the three predictions."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)
    net = SlicedNet()
    train(net.train(), images[:1300], labels[:1300])
    net.eval()
    accuracies = [(y.argmax(1) == labels[1300:]).float().mean().item() for y in net(images[1300:])]
    print("accuracy of 1, 2 and 3 slices:", *(f"{accuracy:.3f}" for accuracy in accuracies))

    image, left = images[1300:1301], []
    for k, whole in enumerate(net(image)):
        logits, left = net.resume(image, left)  # stop here if time is up, or keep `left` and go on tomorrow
        assert torch.allclose(logits, whole, atol=1e-4)  # the dense pass adds zeros in another order
        print(f"after slice {k + 1}: a {logits.argmax().item()}, it is a {labels[1300].item()}")
    return accuracies


if __name__ == "__main__":
    main()
