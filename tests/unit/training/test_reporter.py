"""Progress: a bar on a terminal that fits 80 columns, lines where asked for, silence elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import anytimenet as an
from anytimenet.training.reporter import Reporter


class Clock:
    """Two seconds a step."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told(progress, *, terminal=False, epochs=300, steps=390, stages=4, done=0, upto=None) -> str:
    """What a reporter writes about a run, at a width of 80."""
    file, clock = io.StringIO(), Clock()
    console = Console(file=file, force_terminal=terminal, width=80, _environ={})
    reporter = Reporter(progress, title="resnet_20 on cifar10", console=console, clock=clock)
    reporter.start(epochs * steps, done, epochs)
    for number in range(done // steps + 1, (upto or epochs) + 1):
        for _ in range(steps):
            clock.now += 2
            reporter.step()
        reporter.epoch(number, 2.5, [0.9712, 1.0, 0.5, 0.123, 0.1, 0.2, 0.3][:stages])
    reporter.stop()
    return file.getvalue()


def test_without_a_terminal_nothing_is_said_unless_it_is_asked_for():
    assert told(None) == ""
    assert told(False, terminal=True) == told(False) == ""
    assert "resnet_20 on cifar10: 300 epochs of 390 steps" in told(True)


def test_the_first_lines_say_how_long_the_run_is():
    lines = told(True, epochs=30, steps=1).splitlines()
    assert lines[0] == "resnet_20 on cifar10: 30 epochs of 1 step"
    # After the first epoch of 2 s there are 29 more.
    assert lines[1] == "epoch 1/30  ETA 0:00:58  loss 2.500  val % 97.1 100.0 50.0 12.3"
    assert lines[2].startswith("epoch 3/30  ETA 0:00:54")
    assert lines[-1].startswith("epoch 30/30  took 0:01:00")
    assert len(lines) == 12


def test_a_run_that_goes_on_is_estimated_from_its_own_steps():
    lines = told(True, epochs=10, steps=5, done=25).splitlines()
    assert lines[1].startswith("epoch 6/10  ETA 0:00:40")


@pytest.mark.parametrize("stages", [0, 1, 4, 7])
def test_a_bar_tells_epoch_step_and_time_within_80_columns(stages):
    lines = told(None, terminal=True, upto=2, epochs=300, stages=stages).replace("\r", "\n").splitlines()
    last = [line for line in lines if "epoch" in line][-1]
    assert "epoch 3/300 step 0/390" in last
    assert "ETA 2 days, " in last
    assert ("val %" in last) == (stages > 0)
    assert "…" not in last
    if stages == 4:
        assert "97.1 100.0 50.0 12.3" in last
    if stages == 7:
        assert "97.1 .. 30.0" in last


def test_a_finished_bar_tells_what_it_took():
    last = told(None, terminal=True, epochs=2, steps=3).replace("\r", "\n")
    assert "epoch 2/2 step 3/3" in last
    assert "took 0:00:12" in last


def phases(progress, *, terminal=False) -> str:
    """What a reporter writes about heads that learn alone before and after one epoch."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=80, _environ={})
    reporter = Reporter(progress, title="net on digits", console=console, clock=Clock())
    reporter.phase("heads learn alone", 3)
    for _ in range(3):
        reporter.step()
    reporter.start(2, 0, 1)
    for _ in range(2):
        reporter.step()
    reporter.epoch(1, 2.5, [0.5])
    reporter.phase("heads learn once more", 4)
    reporter.step()
    reporter.stop()
    return file.getvalue().replace("\r", "\n")


def test_phases_have_a_bar_of_their_own_and_no_step_of_theirs_is_one_of_training():
    said = phases(None, terminal=True)
    assert "heads learn alone" in said
    assert "heads learn once more" in said
    assert "epoch 1/1 step 2/2" in said
    assert "epoch 1/1 step 3/2" not in said
    assert "heads learn alone" not in said[said.index("epoch 1/1") :]


def test_phases_are_lines_where_there_is_no_terminal():
    lines = phases(True).splitlines()
    assert lines[0] == "net on digits: heads learn alone"
    assert lines[2].startswith("epoch 1/1  took")
    assert lines[3] == "net on digits: heads learn once more"
    assert phases(False) == phases(None) == ""


def test_a_notebook_gets_lines(monkeypatch):
    monkeypatch.setattr(Console, "is_jupyter", True, raising=False)
    console = Console(file=io.StringIO(), force_terminal=True, force_jupyter=False, width=80)
    console.is_jupyter = True
    reporter = Reporter(console=console)
    assert reporter._bar is None
    assert reporter._lines


def test_fit_tells_progress_only_where_it_is_wanted(capsys):
    net, config = an.create_net("isresnext_tiny", in_channels=1), an.TrainConfig(epochs=1, batch_size=16)
    few = an.load_data("digits", an.DataOptions(limit=36))
    an.fit(net, few, config=config)
    assert capsys.readouterr().err == ""
    an.fit(net, few, config=config, progress=True)
    said = capsys.readouterr().err
    assert "isresnext_tiny on digits: 1 epoch of 2 steps\nepoch 1/1  took 0:00:" in said
    with pytest.raises(TypeError, match="progress must be True or False, not 'no'"):
        an.fit(net, few, config=config, progress="no")
    with pytest.raises(ValueError, match="give progress or a reporter"):
        an.fit(net, few, config=config, progress=True, reporter=an.Reporter())


def test_a_reporter_of_ones_own_is_called(capsys):
    calls = []

    class Mine(an.Reporter):
        def start(self, total_steps, done, epochs):
            calls.append((total_steps, done, epochs))

        def step(self):
            calls.append("step")

        def epoch(self, number, loss, scores):
            calls.append((number, len(scores)))

        def stop(self):
            calls.append("stop")

    net = an.create_net("isresnext_tiny", in_channels=1)
    few = an.load_data("digits", an.DataOptions(limit=36))
    an.fit(net, few, config=an.TrainConfig(epochs=1, batch_size=16), reporter=Mine())
    assert calls == [(2, 0, 1), "step", "step", (1, 3), "stop"]


def test_quiet_is_another_word_for_no_progress(capsys):
    reporter = an.Reporter(quiet=True)
    reporter.start(4, 0, 2)
    reporter.note("something")
    reporter.epoch(1, 0.5, [0.5])
    reporter.stop()
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ValueError, match="contradict"):
        an.Reporter(True, quiet=True)
