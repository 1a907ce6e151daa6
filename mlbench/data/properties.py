"""What is known of examples, or of the words in them, beside their label: what probes ask for."""

from dataclasses import dataclass

from torch import Tensor

from mlbench.core.to_device import ToDevice


@dataclass
class Items(ToDevice):
    """What is known of the examples of one split, or of the words in them."""

    rows: Tensor  # [n] the example that each item is, or stands in: a place in the split
    labels: dict[str, Tensor]  # property -> [n] int64, numbers of its values
    spans: Tensor | None = None  # [n, 2] first word piece of a word and the one after its last; None: whole examples
    forms: Tensor | None = None  # [n] int64, which word it is: the same number for the same word in every split

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class Properties(ToDevice):
    """What can be asked of the layers of a network, beside what it was trained for."""

    values: dict[str, list[str]]  # property -> the names of its values
    train: Items
    test: Items
    validation: Items | None = None  # of `Task.validation`
