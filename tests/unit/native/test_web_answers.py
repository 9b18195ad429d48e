"""The answers of the JavaScript module are Python's: which stage stands, labels, levels, probabilities."""

from __future__ import annotations

import math

import numpy as np
from tests.browser.tools import run_script

from anytimenet.core.answers.prediction import Prediction
from anytimenet.core.answers.standing import standing_stage


def test_the_stage_that_stands_is_pythons():
    draw = np.random.default_rng(0)
    cases = []
    for _ in range(500):
        stages = int(draw.integers(1, 7))
        scores = [None if draw.random() < 0.3 else float(draw.integers(5)) / 4 for _ in range(stages)]
        finished = [stage for stage in range(1, stages + 1) if draw.random() < 0.6]
        cases.append({"finished": finished, "validated": scores})
    wanted = [standing_stage(case["finished"], case["validated"]) or 0 for case in cases]
    assert run_script("say_answers.mjs", given=cases) == wanted


def test_labels_levels_and_probabilities_are_pythons():
    draw = np.random.default_rng(1)
    names = [[f"fine {i}" for i in range(7)], ["animal", "thing", "plant"]]
    levels = [2, 2, 1]
    model = {"classNames": names, "levels": levels, "stages": [{}] * 3}
    cases, wanted = [], []
    for _ in range(200):
        stage = int(draw.integers(1, 4))
        logits = (draw.standard_normal(10) * 10 ** draw.uniform(-1, 3)).astype(np.float32)
        cases.append({"model": model, "stage": stage, "logits": logits.tolist()})
        parts = [logits[:7].astype(np.float64), logits[7:].astype(np.float64)]
        wanted.append(Prediction.of(parts, names, stage=stage, elapsed_ms=0, macs=1, levels=levels))
    for found, answer in zip(run_script("say_answers.mjs", given=cases), wanted, strict=True):
        assert (found["stage"], found["stages"]) == (answer.stage, 3)
        assert (found["label"], found["level"]) == (answer.label, answer.level)
        assert found["labels"] == list(answer.labels)
        assert math.isclose(found["probability"], answer.probability, rel_tol=1e-6)
        for one, other in zip(found["probabilities"], answer.level_probabilities, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-30)


def test_logits_that_are_not_finite_are_no_answer():
    model = {"classNames": [["a", "b"]], "levels": [1], "stages": [{}]}
    assert run_script("say_answers.mjs", given=[{"model": model, "stage": 1, "logits": [1.0, None]}]) == [
        None
    ]
