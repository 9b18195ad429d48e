"""What a check is: one promise of the contract, and the error that names it when a net breaks it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from anytimenet.nets.contract import Output
from anytimenet.testing.compare import AGREES, largest_distance
from anytimenet.testing.net_under_test import NetUnderTest


class ContractError(AssertionError):
    """A net breaks a promise of the contract.

    Attributes:
        promise: short name of the promise, one of those that `check_anytime_net` lists.
        where: the stage, segment or tensor at which it showed.
        cause: what most probably is wrong.
    """

    def __init__(self, promise: str, where: str, cause: str) -> None:
        super().__init__(f"promise {promise!r} is broken: {where}\nlikely cause: {cause}")
        self.promise = promise
        self.where = where
        self.cause = cause


class BreachError(Exception):
    """Raised inside a check, which adds the name of its promise to make a `ContractError` of it."""

    def __init__(self, where: str, cause: str) -> None:
        super().__init__(where)
        self.where = where
        self.cause = cause


@dataclass(frozen=True)
class Check:
    """One promise with its proof; call it with a `NetUnderTest`.

    Attributes:
        promise: short name.
        text: what is promised, with its tolerance.
        prove: raises `BreachError` where the promise is broken.
    """

    promise: str
    text: str
    prove: Callable[[NetUnderTest], None]

    def __call__(self, subject: NetUnderTest) -> None:
        """Proves the promise for one net.

        Raises:
            ContractError: if it is broken, or the net raises an error on the way.
        """
        try:
            self.prove(subject)
        except BreachError as breach:
            raise ContractError(self.promise, breach.where, breach.cause) from breach.__cause__
        except Exception as error:
            raise ContractError(
                self.promise,
                f"the net raised {type(error).__name__}: {error}",
                "a method of the net fails on input that the contract allows; the error above has the line",
            ) from error


def promise(name: str) -> Callable[[Callable[[NetUnderTest], None]], Check]:
    """Decorator that makes a `Check` of a function; the function's docstring is the promise's text."""

    def make(prove: Callable[[NetUnderTest], None]) -> Check:
        return Check(name, inspect.getdoc(prove) or "", prove)

    return make


def agree(got: Output, truth: Output, where: str, cause: str) -> None:
    """Raises `BreachError` unless two outputs or states are equal to 1e-9 of the largest magnitude."""
    if not isinstance(got, tuple):
        raise BreachError(f"{where} is a {type(got).__name__}, not a tuple of tensors", cause)
    gap = largest_distance(got, truth)
    if not gap <= AGREES:
        shapes = [tuple(t.shape) for t in got], [tuple(t.shape) for t in truth]
        seen = f"shapes {shapes[0]}, not {shapes[1]}" if shapes[0] != shapes[1] else f"off by {gap:.1e}"
        raise BreachError(f"{where}: {seen}", cause)
