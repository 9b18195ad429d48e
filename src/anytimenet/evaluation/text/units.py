"""How counts and units are written for people: one helper for every table and figure."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

_WORDS = {"T": "trillions", "G": "billions", "M": "millions", "k": "thousands"}

_NAMES = {
    "macs": "multiply-adds",
    "full": "operations, full count",
    "msd": "operations, msd count",
    "params": "parameters",
    "ms": "latency",
}


def format_count(count: float) -> str:
    """A count with four significant digits and its prefix; small whole numbers stay as they are.

    >>> [format_count(n) for n in (640, 89_690, 12_977_000, 1_530_644_000, 999_990)]
    ['640', '89.69 k', '12.98 M', '1.531 G', '1.000 M']

    Raises:
        ValueError: for a negative count.
    """
    if count < 0:
        raise ValueError(f"a count cannot be negative: {count}")
    # 999.95 is where three digits and one decimal would round up to 1000.0.
    for size, prefix in _PREFIXES:
        scaled = count / size
        if scaled >= 0.99995:
            decimals = 3 if scaled < 9.9995 else 2 if scaled < 99.995 else 1
            return f"{scaled:.{decimals}f} {prefix}"
    return f"{count:.4g}"


def parse_count(text: str) -> float:
    """The number that `format_count` wrote, or a person: with a prefix (k, M, G, T) or commas, or as it is.

    >>> [parse_count(text) for text in ("1.499 M", "1.5M", "640", "2e6", "100,000")]
    [1499000.0, 1500000.0, 640.0, 2000000.0, 100000.0]

    Raises:
        ValueError: for anything else.
    """
    match = re.fullmatch(r"\s*(.*?)\s*([kKmMgGtT]?)\s*", text)
    assert match is not None
    number, prefix = match[1], match[2].upper().replace("K", "k")
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", number):
        number = number.replace(",", "")
    try:
        # Through the decimal point, as people do: 1.499 M are 1499000, not 1498999.9999999998.
        scaled = Decimal(number) * int({**{p: size for size, p in _PREFIXES}, "": 1}[prefix])
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number such as 2e6, 1.5M or 100,000") from None
    return float(scaled)


def axis_scale(unit: str, smallest: float, largest: float) -> tuple[float, str]:
    """What to divide costs by, and the axis label that says so.

    Counted units get the largest prefix with the largest cost at 1 or more and the smallest at 0.1 or more
    (or the largest at 100 or more, for very wide ranges); other units are left alone.

    >>> axis_scale("macs", 12_977_000, 122_097_000)
    (1000000.0, 'multiply-adds (millions)')
    >>> axis_scale("ms", 0.4, 3.5)
    (1.0, 'latency (ms)')
    >>> axis_scale("joules", 0.4, 3.5)
    (1.0, 'joules')
    """
    if unit == "ms":
        return 1.0, f"{_NAMES[unit]} (ms)"
    if unit not in _NAMES:
        return 1.0, unit
    for size, prefix in _PREFIXES:
        if largest / size >= (1 if smallest / size >= 0.1 else 100):
            return size, f"{_NAMES[unit]} ({_WORDS[prefix]})"
    return 1.0, _NAMES[unit]
