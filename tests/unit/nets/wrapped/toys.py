"""Small modules whose forwards do more than run their sub-modules one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(channels: int, filters: int, stride: int = 1) -> nn.Sequential:
    layers = nn.Conv2d(channels, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()
    return nn.Sequential(*layers)


class Attention(nn.Module):
    """Two heads; reads the size of the map and a bias, as some do."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, height: int = 0, *, bias: Tensor | None = None) -> tuple[Tensor, None]:
        n, t, d = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        y: Tensor = self.out(h.transpose(1, 2).reshape(n, t, d))
        return y, None


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = Attention(width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x, 4)[0]
        y: Tensor = x + self.mlp(x)
        return y


class ViT(nn.Module):
    """Patches, a class token, positions, layers in a list, a norm and a linear layer."""

    def __init__(self, width: int = 8, depth: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 2, 2)
        self.cls = nn.Parameter(torch.randn(1, 1, width))
        self.pos = nn.Parameter(torch.randn(1, 17, width))
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.head(self.norm(x)[:, 0])
        return y


class Table(nn.Module):
    """A bias for attention that knows nothing of the images."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.entries = nn.Parameter(torch.randn(2, 2 * tokens))

    def forward(self, tokens: int) -> Tensor:
        places = torch.arange(tokens)
        return self.entries[:, places[:, None] - places + tokens]


class SharedTable(nn.Module):
    """Layers that each ask for the same table of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.table = nn.Conv2d(3, 8, 2, 2), Table(16)
        self.layers = nn.ModuleList(Attention(8) for _ in range(3))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = x + layer(x, bias=self.table(16))[0]
        y: Tensor = self.head(x.mean(1))
        return y


class UNet(nn.Module):
    """Down and up again, with what was on the way down beside what is on the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.low = conv(3, 4), conv(4, 6, 2), conv(6, 8, 2)
        self.up2, self.up1 = conv(14, 6), conv(10, 5)
        self.fc = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(one)
        up = self.up2(torch.cat([F.interpolate(self.low(two), scale_factor=2.0), two], 1))
        up = self.up1(torch.cat([F.interpolate(up, scale_factor=2.0), one], 1))
        y: Tensor = self.fc(up.mean((2, 3)))
        return y


class ByFunction(nn.Module):
    """Dropout and BatchNorm as functions, with statistics of its own, and a gate that is still zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer1, self.layer2 = conv(3, 4), conv(4, 4), conv(4, 6)
        self.gate = nn.Parameter(torch.zeros(1))
        self.mean, self.var = nn.Buffer(torch.zeros(4)), nn.Buffer(torch.ones(4))
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.stem(x))
        x = F.batch_norm(x, self.mean, self.var, training=self.training)
        x = self.layer2(x) + self.gate * x[:, :1]
        y: Tensor = self.fc(F.dropout(x.mean((2, 3)), 0.5, self.training))
        return y


class Windows(nn.Module):
    """A map with channels last, as Swin's."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 2, 2)
        self.layers = nn.ModuleList(Residual(6) for _ in range(3))
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).permute(0, 2, 3, 1)
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.head(x.mean((1, 2)))
        return y


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.fc(self.norm(x)).relu()
        return y


@dataclass
class Found:
    logits: Tensor
    hidden: Tensor


class Structured(nn.Module):
    """Sub-modules that pass structures of tensors, and one that is not known to PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pair, self.join, self.fc = conv(3, 4), Pair(), Join(), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Found:
        found = self.pair(self.stem(x))
        hidden = self.join(found)
        return Found(self.fc(hidden.mean((2, 3))), hidden)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(4, 4), conv(4, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.a(x), "b": self.b(x), "c": x}


class Join(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(8, 6)

    def forward(self, tensors: dict[str, Tensor]) -> Tensor:
        y: Tensor = self.conv(torch.cat([tensors["a"], tensors["b"]], 1))
        return y


class Recurrent(nn.Module):
    """One layer that runs three times, and one after it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again, self.between = conv(3, 4), conv(4, 4), conv(4, 4)
        self.after, self.last, self.fc = conv(4, 4), conv(4, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.stem(x))
        x = self.again(self.between(self.again(x)))
        y: Tensor = self.fc(self.last(self.after(x)).mean((2, 3)))
        return y
