"""Axes of small charts: their range, and ticks at round numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = (1, 2, 2.5, 5, 10)  # of ticks, in powers of ten
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
LOG_FROM = 4  # an axis of costs is logarithmic when the largest is so many times the smallest


@dataclass
class Scale:
    """From values between `low` and `high` to places between `start` and `end`, of their logarithms if `log`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value, to a tenth; values beyond the range stand at its ends."""
        low, high, here = (math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        share = (here - low) / (high - low) if high > low else 0.5
        return round(self.start + min(max(share, 0), 1) * (self.end - self.start), 1)

    def ticks(self, count: int, whole: bool = False) -> list[tuple[float, str]]:
        """About `count` places with round numbers, at whole ones only if `whole`."""
        values = log_ticks(self.low, self.high) if self.log else round_ticks(self.low, self.high, count, whole)
        return [(self(value), text) for value, text in zip(values, texts(values), strict=True)]


def round_ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten between `low` and `high`, at most about `count`."""
    rough = max((high - low) / max(count, 1), 1e-12)
    power = 10 ** math.floor(math.log10(rough))
    step = next(step * power for step in STEPS if step * power >= rough * (1 - 1e-9))
    if whole:
        step = max(1, math.ceil(step))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with their doubles and fives between where there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for parts in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [part * 10.0**power for power in powers for part in parts]
        ticks = [value for value in ticks if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(ticks) >= 3:
            break
    return ticks[:: math.ceil(len(ticks) / 6)] if ticks else [low]


def texts(values: Sequence[float]) -> list[str]:
    """Numbers for an axis, such as 20k, 1.5M, 0.25, with as many digits as they need to differ."""
    labels: list[str] = []
    for digits in range(2, 9):
        labels = [short(value, digits) for value in values]
        if len(set(labels)) == len(labels) and all(float(f"{v:.{digits}g}") == float(f"{v:.9g}") for v in values):
            break
    return labels


def short(value: float, digits: int) -> str:
    """A number with so many digits, thousands as k, millions as M."""
    for size, prefix in PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.{digits}g}{prefix}"
    return f"{value:.{digits}g}"


def span(
    values: Sequence[float], around: float = 0.06, within: tuple[float, float] | None = None
) -> tuple[float, float]:
    """The smallest and largest value with some room around, not beyond `within`."""
    low, high = min(values), max(values)
    room = around * (high - low) or abs(high) * 0.1 or 0.5
    low, high = low - room, high + room
    return (max(low, within[0]), min(high, within[1])) if within else (low, high)


def wants_log(values: Sequence[float]) -> bool:
    """Whether these are far enough apart for a logarithmic axis."""
    return min(values) > 0 and max(values) > LOG_FROM * min(values)
