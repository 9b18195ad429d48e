"""The same fault in plain PyTorch, without this project: running statistics lag where steps are few.

python reproductions/small_data_control.py

A small ResNet learns digits 0, 1 and 2 from 243 images and is judged on the other 294: with the running
statistics that training left, and with the same weights and statistics estimated anew on training batches.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm_one, self.norm_two = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm_two(self.two(F.relu(self.norm_one(self.one(x))))) + self.shortcut(x))


def net() -> nn.Module:
    """Six blocks in three scales."""
    widths = [16, 16, 32, 32, 64, 64]
    blocks = [Block(a, b, 2 if b > a else 1) for a, b in zip([16, *widths], widths, strict=False)]
    stem = [nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 3))


def run(batch_size: int, epochs: int, seed: int) -> tuple[float, float]:
    """Accuracy in % with running statistics, and with those of training batches."""
    torch.manual_seed(seed)
    digits = load_digits()
    few = digits.target < 3
    images = torch.tensor(digits.images[few] / 8 - 1, dtype=torch.float32)[:, None]
    labels = torch.tensor(digits.target[few])
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    train, test = order[:243], order[243:]
    model, steps = net(), len(train) // batch_size
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * steps)
    for _ in range(epochs):
        drawn = train[torch.randperm(len(train))]
        for step in range(steps):
            batch = drawn[step * batch_size : (step + 1) * batch_size]
            optimiser.zero_grad()
            F.cross_entropy(model.train()(images[batch]), labels[batch]).backward()
            optimiser.step()
            schedule.step()
    running = accuracy(model, images[test], labels[test])
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
    with torch.no_grad():
        for step in range(steps):
            model.train()(images[train[step * batch_size : (step + 1) * batch_size]])
    return running, accuracy(model, images[test], labels[test])


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """In %, in eval mode."""
    return 100 * (model.eval()(images).argmax(1) == labels).float().mean().item()


def main() -> None:
    torch.set_num_threads(1)
    print("| batch | epochs | steps | running % | estimated anew % |\n|--:|--:|--:|---|---|")
    for batch_size, epochs in ((64, 3), (64, 12), (16, 3), (16, 12)):
        found = [run(batch_size, epochs, seed) for seed in range(4)]
        cells = [" ".join(f"{one:.0f}" for one in side) for side in zip(*found, strict=True)]
        steps = 243 // batch_size * epochs
        print(f"| {batch_size} | {epochs} | {steps} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
