"""Properties of examples or words that probes predict: those of the data, or else the label."""

from torch import Tensor

from mlbench.core.errors import SettingError
from mlbench.data.properties import Items, Properties
from mlbench.data.stream import Task


def select_property(name: str | None, properties: Properties) -> str:
    """The name of a property, the first one for None. Raises SettingError for one that the data does not have."""
    name = name or next(iter(properties.values))
    if name not in properties.values:
        raise SettingError("property", name, f"{' or '.join(properties.values)}, or null")
    return name


def subset(items: Items, index: Tensor) -> Items:
    """The items at `index`, in their old order."""
    index = index.sort().values
    spans, forms = (None if part is None else part[index] for part in (items.spans, items.forms))
    labels = {name: values[index] for name, values in items.labels.items()}
    return Items(items.rows[index], labels, spans, forms, items.split)


def properties_of(task: Task, classes: list[str]) -> Properties:
    """The properties of the data, or the label if it has none."""
    if task.properties is not None:
        return task.properties
    train, test = (Items(split.places, {"class": split.labels}) for split in (task.train, task.test))
    return Properties({"class": classes}, train, test)
