"""The points of compressed networks, gathered over the runs of each setting. No torch."""

from collections import defaultdict
from collections.abc import Iterable

from mlbench.core.statistics import Spread, spread
from mlbench.runs.point_columns import POINT_NUMBERS
from mlbench.runs.run_record import number
from mlbench.runs.run_tables import Rows

LABELS_UP_TO = 12  # points of a chart that still have room for their names
PointKey = tuple[str, str, str]  # setting, step, stage
Points = dict[PointKey, dict[str, Spread]]


def gather_points(tables: Iterable[tuple[str, Rows]]) -> Points:
    """The points of compressed networks, each of their numbers with its spread over seeds.

    A number that a run did not measure, or for which its table has no column, counts as missing in that run.

    Args:
        tables: for each run the label of its setting and the rows of its points.csv.

    Returns:
        (setting, step, stage) -> name of a number -> spread over the runs that have it.
    """
    values: dict[PointKey, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for label, rows in tables:
        for row in rows:
            for name in POINT_NUMBERS:
                if (value := number(row, name)) is not None:
                    values[label, row.get("step", ""), row.get("stage", "")][name].append(value)
    return {key: {name: spread(own) for name, own in numbers.items()} for key, numbers in values.items()}
