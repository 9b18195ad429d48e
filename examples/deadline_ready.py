"""From training to a net that is ready for deadlines: python examples/deadline_ready.py [FOLDER]

Trains an anytime net on handwritten digits, measures on this machine what each of its answers costs, saves
the bundle, and loads it again as a program would that has to answer in time: it takes the best answer that
the budget, in milliseconds or in multiply-adds, allows.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import anytimenet as an


def make(folder: Path, epochs: int = 4) -> Path:
    """Trains, measures and saves; the path of the bundle."""
    net = an.create_net("isresnext_small", num_classes=10, in_channels=1)
    config = an.TrainConfig(epochs=epochs, batch_size=64, schedule="cosine", warmup=0.25)
    bundle = an.fit(net, "digits", config=config)
    print(an.evaluate(bundle).table())
    table = an.profile(bundle, minutes=0.05, device="cpu")  # minutes=1 for figures to rely on
    for stage in range(1, table.num_stages + 1):
        latency = table.latency(0, stage)
        print(f"stage {stage}: {latency.median_ms:.2f} ms, 99 % within {latency.p99_ms:.2f} ms")
    return bundle.save(folder / "digits")


def answer(path: Path) -> list[an.Prediction]:
    """Loads the bundle and answers one image under several budgets."""
    bundle = an.load(path)
    bundle.warm_up()  # else the first answers wait until their segments are prepared
    digit = an.load_data("digits").test.images[0]
    found = []
    for deadline_ms in (0.5, 5.0, 50.0):
        prediction = bundle.predict(digit, deadline_ms=deadline_ms)
        late = ", late" if prediction.late else ""
        print(
            f"{deadline_ms:g} ms: a {prediction.label} from stage {prediction.stage} "
            f"after {prediction.elapsed_ms:.2f} ms{late}"
        )
        found.append(prediction)
    for budget in (100_000, 500_000):
        prediction = bundle.predict(digit, budget_macs=budget)
        print(f"{budget:,} multiply-adds: a {prediction.label} from stage {prediction.stage}")
        found.append(prediction)
    return found


def main(folder: Path) -> list[an.Prediction]:
    """Both, one after the other; what was answered."""
    return answer(make(folder))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as unnamed:
            main(Path(unnamed))
