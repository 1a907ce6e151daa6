"""What every technique says of itself before a run is made."""

from pathlib import Path
from typing import ClassVar

from omegaconf import OmegaConf

from mlbench.core.buildable import locate
from mlbench.core.config_groups import conf_folder
from mlbench.core.errors import UserError
from mlbench.data.modality import EVERY, Modality
from mlbench.data.stream import Task


class Technique:
    """The base of the families' methods; by itself it is plain training."""

    takes: ClassVar[tuple[str, ...]] = ()  # settings at the top level that mean something to it and not to all
    chooses: ClassVar[bool] = False  # whether it chooses by train.validation, which otherwise is for early stopping
    needs_epochs: ClassVar[bool] = False  # whether there is nothing to it without training
    needs_classes: ClassVar[bool] = True  # whether it is about classes that are told apart
    needs_labels: ClassVar[bool] = True  # whether it learns from labels, or is measured by them
    learns_on_features: ClassVar[bool] = True  # whether it can be given a frozen backbone's features as the data
    modalities: ClassVar[tuple[type[Modality], ...]] = EVERY  # the kinds of examples it is made for
    shortest: ClassVar[dict[str, object]] = {}  # settings with which it does the same in the least time: in a rehearsal

    def files(self) -> list[Path]:
        """Files and folders that it reads: one that changes makes other results."""
        return []

    def training_size(self, task: Task) -> int:
        """How many examples `fit` gets for the task."""
        return len(task.train)


def check_modality(technique: Technique, name: str, modality: Modality) -> None:
    """Raise UserError where a technique, `family=name`, is not made for examples of this kind."""
    if type(modality) in technique.modalities:
        return
    *most, last = [kind.name for kind in technique.modalities]
    takes = f"{', '.join(most)} and {last}" if most else last
    family, others = name.partition("=")[0], []
    for path in sorted((conf_folder() / family).glob("*.yaml")):
        cls = locate(OmegaConf.load(path)._target_, Technique, family, ())
        if isinstance(cls.modalities, tuple) and type(modality) in cls.modalities:
            others.append(path.stem)
    raise UserError(f"{name} is made for {takes}; for {modality.name} there are {', '.join(others)}")
