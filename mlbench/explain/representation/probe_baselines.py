"""Baselines of probes: lookup by the form of a word, the majority value, and the control task."""

import torch
from torch import Tensor

from mlbench.data.properties import Items

CLEAR = 0.9  # share of a form's occurrences; the rest may be slips of whoever wrote the tags


def counts(items: Items, name: str, forms: int, values: int) -> Tensor:
    """How often each form has each value, [forms, values]."""
    pairs = items.forms * values + items.labels[name]
    return torch.bincount(pairs, minlength=forms * values).view(forms, values)


def majority(train: Items, name: str) -> int:
    """The most frequent value."""
    return int(torch.bincount(train.labels[name]).argmax())


def lookup(train: Items, test: Items, name: str, values: int) -> tuple[Tensor, Tensor]:
    """Predict the most frequent value of each form.

    Args:
        train: Items that the frequencies are taken from.
        test: n items to predict.
        name: The property.
        values: Number of its values.

    Returns:
        Predictions [n], the majority value for new forms, and whether the form is ambiguous in training, bool [n]: no
        value has a share of CLEAR or more.
    """
    forms = int(torch.cat([train.forms, test.forms]).max()) + 1
    table = counts(train, name, forms, values)
    best = torch.where(table.sum(1) > 0, table.argmax(1), majority(train, name))
    return best[test.forms], (table.amax(1) < CLEAR * table.sum(1))[test.forms]


def control(train: Items, name: str, forms: int, values: int, generator: torch.Generator) -> Tensor:
    """A value for each form [forms], drawn by the values' frequencies in training (Hewitt & Liang 2019, section 2)."""
    frequencies = torch.bincount(train.labels[name].cpu(), minlength=values).double()
    return torch.multinomial(frequencies, forms, replacement=True, generator=generator).to(train.rows.device)
