"""One promise of one net as a test of its own: what `parametrize_with_checks` makes of nets and checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from anytimenet.core.checks import words
from anytimenet.core.errors import suggest
from anytimenet.costs import Rule
from anytimenet.nets.contract import AnytimeNet
from anytimenet.testing.net_under_test import NetUnderTest
from anytimenet.testing.promise import Check

NetSource = AnytimeNet | Callable[[], AnytimeNet]
"""A net, or a function that builds one when its first check runs."""


@dataclass
class Subjects:
    """Nets by name, each made ready when it is asked for; the last one is kept for its next check."""

    nets: Mapping[str, NetSource]
    shapes: Mapping[str, Sequence[int]]
    seed: int
    rules: Mapping[str, Rule] | None
    _last: dict[str, NetUnderTest] = field(default_factory=dict)

    def get(self, name: str) -> NetUnderTest:
        """The net of that name, with its random numbers at their start, whatever ran before."""
        if name not in self._last:
            source = self.nets[name]
            net = source if isinstance(source, AnytimeNet) else source()
            self._last.clear()
            self._last[name] = NetUnderTest(net, self.shapes[name], seed=self.seed, rules=self.rules)
        subject = self._last[name]
        subject.generator.manual_seed(self.seed)
        return subject


@dataclass(frozen=True)
class NetCheck:
    """One promise of one net; call it to prove it.

    Attributes:
        name: of the net.
        check: the promise.
        subjects: where the net is found.
    """

    name: str
    check: Check
    subjects: Subjects

    @property
    def id(self) -> str:
        """As pytest shows and selects it."""
        return f"{self.name}-{self.check.promise.replace(' ', '_')}"

    def __call__(self) -> None:
        """Raises ContractError if the promise is broken."""
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            self.check(self.subjects.get(self.name))


def named_nets(nets: Mapping[str, NetSource] | Sequence[NetSource]) -> dict[str, NetSource]:
    """The nets by name: their own, that of their class or builder, with a number where it comes twice."""
    if isinstance(nets, Mapping):
        return {words(name, "each name of nets"): net for name, net in nets.items()}
    found: dict[str, NetSource] = {}
    for net in nets:
        kind = type(net) if isinstance(net, AnytimeNet) else net
        own = name = getattr(kind, "__name__", f"net{len(found) + 1}")
        number = len(found) + 1
        while name in found:
            name, number = f"{own}{number}", number + 1
        found[name] = net
    return found


def check_expected(expected: Mapping[str, str], known: Sequence[Check]) -> None:
    """Raises ValueError unless each expected failure names a promise and gives a reason."""
    promises = [check.promise for check in known]
    for name, reason in expected.items():
        if name not in promises:
            raise ValueError(
                f"expected_failures: no promise is named {name!r}: {suggest(str(name), promises)}"
            )
        words(reason, f"the reason of the expected failure {name!r}")
