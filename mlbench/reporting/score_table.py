"""The many metrics of maps and of layers as a table: what was scored in rows, the scores in columns. No torch."""

import re
from collections import defaultdict

from rich.console import Console
from rich.table import Table

LAYER = re.compile(r"(layer_\d+)_(.+)")


def apart(metrics: dict[str, float], technique: str) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Metrics that stand alone, and those of the technique beside its controls and of one layer beside another.

    Args:
        metrics: metric -> value, as a summary has them. A control's are called as the technique's own, behind
            `control_<name>_`; a layer's begin with `layer_<number>_`.
        technique: the name for the row of the technique itself.

    Returns:
        (metric -> value; row -> score -> value).
    """
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    placed = {name: place for name in metrics if (place := place_of(name, metrics))}
    controlled = {score for row, score in placed.values() if row.startswith("control_")}
    for name in metrics:
        if name in controlled:
            rows[technique][name] = metrics[name]
        elif name in placed:
            row, score = placed[name]
            rows[row][score] = metrics[name]
    alone = {name: value for name, value in metrics.items() if name not in placed and name not in controlled}
    return alone, dict(rows)


def place_of(name: str, metrics: dict[str, float]) -> tuple[str, str] | None:
    """Row and score of a metric; None for one that stands alone."""
    if found := LAYER.fullmatch(name):
        return found[1], found[2]
    if not name.startswith("control_"):
        return None
    ends = [other for other in metrics if name.endswith(f"_{other}") and len(other) < len(name) - len("control__")]
    score = max(ends, key=len, default="")
    return (name.removesuffix(f"_{score}"), score) if score else None


def score_tables(rows: dict[str, dict[str, float]], console: Console) -> list[Table]:
    """A table for the technique and its controls and one for layers; turned on its side where it would be too wide."""
    kinds = [{row: rows[row] for row in rows if bool(LAYER.match(f"{row}_x")) is layers} for layers in (False, True)]
    tables = []
    for kind, title in zip(kinds, ("scores, and those of controls", "scores of layers"), strict=True):
        if kind:
            wide = len(words(kind)) > console.width
            tables.append(upright(turned(kind) if wide else kind, title))
    return tables


def words(rows: dict[str, dict[str, float]]) -> str:
    """The longest word of each column side by side, as wide as a table whose words are whole."""
    columns = dict.fromkeys(score for scores in rows.values() for score in scores)
    longest = [max(name.split("_"), key=len) for name in columns]
    return "  ".join([max(rows, key=len), *longest])


def upright(rows: dict[str, dict[str, float]], title: str) -> Table:
    """One line for each row."""
    columns = list(dict.fromkeys(score for scores in rows.values() for score in scores))
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("", no_wrap=True)
    for score in columns:
        table.add_column(shown(score), justify="right")
    for row, scores in rows.items():
        table.add_row(shown(row), *(number(scores[each]) if each in scores else "" for each in columns))
    return table


def shown(name: str) -> str:
    """A row or a score in words."""
    return name.removeprefix("control_").replace("_", " ")


def turned(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Rows as columns."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row, scores in rows.items():
        for score, value in scores.items():
            found[score][row] = value
    return found


def number(value: float) -> str:
    """A number of a run for people: whole ones without decimals where they are counts or large."""
    if isinstance(value, int) or (abs(value) >= 1000 and float(value).is_integer()):
        return f"{value:,.0f}"
    return f"{value:.4f}"
