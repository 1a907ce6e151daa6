"""Properties of examples, or of the words in them, beside their label; probes predict them."""

from dataclasses import dataclass

from torch import Tensor

from mlbench.core.to_device import ToDevice
from mlbench.data.split import Split


@dataclass
class Items(ToDevice):
    """The examples of one split, or the words in them, with the values of their properties."""

    rows: Tensor  # [n] the example that each item is, or stands in: a place in the split
    labels: dict[str, Tensor]  # property -> [n] int64, numbers of its values
    spans: Tensor | None = None  # [n, 2] first word piece of a word and the one after its last; None: whole examples
    forms: Tensor | None = None  # [n] int64, which word it is: the same number for the same word in every split
    split: Split | None = None  # the examples where they are not those of the task: a long text is several

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class Properties(ToDevice):
    """Properties that probes predict from the layers of a network, and their values in each split."""

    values: dict[str, list[str]]  # property -> the names of its values
    train: Items
    test: Items
    validation: Items | None = None  # of `Task.validation`
