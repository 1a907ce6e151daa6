"""What is known of the data, to look for in layers: properties of examples or words, and the label at least."""

from torch import Tensor

from mlbench.core.errors import SettingError
from mlbench.data.properties import Items, Properties
from mlbench.data.stream import Task


def asked(name: str | None, known: Properties) -> str:
    """The property with that name, the first one for null. Raises SettingError for one that the data does not know."""
    name = name or next(iter(known.values))
    if name not in known.values:
        raise SettingError("property", name, f"{' or '.join(known.values)}, or null")
    return name


def some(items: Items, index: Tensor) -> Items:
    """The items at `index`, in their old order."""
    index = index.sort().values
    spans, forms = (None if part is None else part[index] for part in (items.spans, items.forms))
    return Items(items.rows[index], {name: labels[index] for name, labels in items.labels.items()}, spans, forms)


def known_of(task: Task, classes: list[str]) -> Properties:
    """What is known of the data; the label, where nothing else is."""
    if task.properties is not None:
        return task.properties
    train, test = (Items(split.places, {"class": split.labels}) for split in (task.train, task.test))
    return Properties({"class": classes}, train, test)
