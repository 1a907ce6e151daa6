"""The columns of points.csv and layers.csv: what they are called, what they mean, and where they are shown.

To add a column to points.csv, name it here and return its value from `Reader.point` in compress/measurement/worker.py,
or compute it from other columns in `complete` in compress/measurement/points.py. Sweeps and the report show it where it
is `averaged`; older runs lack it, which counts as missing. Columns of layers.csv are measured by `Reader.layers`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its name.
        unit: The unit of its values; empty where they have none.
        meaning: What they mean.
        averaged: Whether tables over runs and the report show its mean over seeds.
        chart: The axis of a chart of accuracy over it, for a cost; empty for none.
    """

    name: str
    unit: str
    meaning: str
    averaged: bool = False
    chart: str = ""


POINT_COLUMNS = (
    Column("step", "", "number of the point; 0 is the dense network"),
    Column("stage", "", "name of the point: the method, and the setting where there are several"),
    Column("accuracy", "share of 1", "test examples that are classified correctly", averaged=True),
    Column("error", "share of 1", "1 - accuracy", averaged=True),
    Column("parameters", "numbers", "weights and biases of the network, shared ones once, without buffers"),
    Column("nonzero", "numbers", "parameters that are not zero", averaged=True),
    Column("bytes", "bytes", "size of the artefact", averaged=True, chart="bytes of the file"),
    Column(
        "ratio", "", "bytes of the dense network's parameters in single precision, divided by `bytes`", averaged=True
    ),
    Column(
        "macs",
        "multiply-adds",
        "executed for one example, the mean over the test set; texts without padding",
        averaged=True,
        chart="multiply-adds an example",
    ),
    Column(
        "latency_ms",
        "ms",
        "time of a forward pass of a batch of latency_batch examples, the median over rounds",
        averaged=True,
        chart="latency, ms",
    ),
    Column("latency_iqr_ms", "ms", "interquartile range of that time over rounds"),
)
LAYER_COLUMNS = (
    Column("step", "", "number of the point: the dense network or the last one"),
    Column("layer", "", "path of the layer in the network"),
    Column("kind", "", "class of the layer"),
    Column("parameters", "numbers", "weights and biases of the layer, shared ones in their first layer only"),
    Column("nonzero", "numbers", "parameters that are not zero"),
    Column("bytes", "bytes", "its parameters as the artefact stores them, without entropy coding"),
    Column("macs", "multiply-adds", "executed for one example, the mean over the test set, without layers inside it"),
    Column(
        "latency_ms",
        "ms",
        "time of the layer and those inside it in a forward pass of latency_batch examples, the median over passes",
    ),
)

POINT_COSTS = {column.name: column.chart for column in POINT_COLUMNS if column.chart}  # name -> axis
POINT_NUMBERS = (*(column.name for column in POINT_COLUMNS if column.averaged and not column.chart), *POINT_COSTS)
