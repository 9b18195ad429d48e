"""Counts the multiply-adds of any callable, in three conventions, from the operators it really runs.

A dispatch mode sees every tensor operator. Each is either in the table of `operators.py` or named there
as free; anything else raises, so that no work goes uncounted without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from anytimenet.core.errors import AnytimeNetError
from anytimenet.costs.conventions import OperationCount, Rule
from anytimenet.costs.operators import RULES
from anytimenet.costs.rules import Rules, as_rules


class UnknownOperatorError(AnytimeNetError, NotImplementedError):
    """An operator has no rule, so that its cost is not known."""


def count(
    fn: Callable[..., Any], *args: Any, rules: Rules | None = None, uncounted: set[str] | None = None
) -> OperationCount:
    """The cost of calling `fn(*args)`, which may be a module, a segment or any other callable.

    It really runs, in inference mode. With tensors and weights on the meta device no arithmetic is done
    and no memory is touched; with real ones it costs what a call costs. Counts are those of the whole
    batch; `OperationCount` says what each convention includes.

    Args:
        fn: what is counted; a forward computation (backward operators have no rules).
        args: its arguments.
        rules: more rules by operator name, such as `{"mylib.my_op": rule}`; they come before the built-in
            ones. `rule(arguments, result)` returns an `OperationCount`, an empty one for a free operator; a
            number is what one call costs.
        uncounted: where it is given, the names of operators without a rule are put into it, and they count
            nothing, instead of an error.

    Raises:
        UnknownOperatorError: for an operator without a rule, named.
        TypeError: if an entry of `rules` is neither a function nor a number.

    >>> with torch.device("meta"):
    ...     conv, image = torch.nn.Conv2d(3, 8, 3, padding=1), torch.empty(1, 3, 4, 4)
    >>> count(conv, image)
    OperationCount(macs=3456, full=3456, msd=3456)
    >>> count(torch.erfinv, image, rules={"aten.erfinv": lambda args, y: OperationCount(full=y.numel())})
    OperationCount(macs=0, full=48, msd=0)
    """
    mode = _CountingMode({**RULES, **as_rules(rules)}, uncounted)
    with torch.inference_mode(), mode:
        fn(*args)
    return mode.total


class _CountingMode(TorchDispatchMode):
    """Adds up the rules of the operators that run under it.

    In inference mode composite operators arrive whole, so that `linear` still has its bias and attention
    is one operator on every device. Those without a rule are taken apart into what they are made of.
    """

    def __init__(self, rules: Mapping[str, Rule], uncounted: set[str] | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rules = rules
        self.uncounted = uncounted
        self.total = OperationCount()

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = str(func.overloadpacket)
        rule = self._rule(name)
        if rule is None:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
            if self.uncounted is None:
                raise UnknownOperatorError(_unknown(name))
            self.uncounted.add(name)
            return func(*args, **kwargs)
        if name == "aten.batch_norm" and _is_plain_meta_norm(args):
            result = torch.empty_like(args[0])
        elif name == "aten.upsample_bilinear2d" and _is_meta_resize(args):
            result = args[0].new_empty((*args[0].shape[:2], *args[1]))
        else:
            result = func(*args, **kwargs)
        self.total += rule(args, result)
        return result

    def _rule(self, name: str) -> Rule | None:
        """The rule of an operator; one that writes in place (`add_`) costs what the plain one does."""
        return self.rules.get(name) or self.rules.get(name.removesuffix("_"))


def _is_plain_meta_norm(args: Sequence[Any]) -> bool:
    """Whether the result is only a shape and the shapes fit: PyTorch takes 1 ms of Python to say the same."""
    x, *per_channel = args[:5]
    return x.is_meta and all(t is None or t.shape == x.shape[1:2] for t in per_channel)


def _is_meta_resize(args: Sequence[Any]) -> bool:
    """Whether images without values get a size that is given: another 20 ms of Python."""
    return args[0].is_meta and args[0].ndim == 4 and args[1] is not None


def _unknown(name: str) -> str:
    return (
        f"no rule says what the operator {name!r} costs: pass one, for example "
        f"rules={{{name!r}: lambda args, result: OperationCount(macs=0, full=result.numel())}}, or a number "
        "of multiply-adds a call, 0 if it is free"
    )
