"""A run with a frozen backbone: what it gives for the data is computed once, and the last layer is trained on that."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.core.renamed import published
from mlbench.data.modality import Tables
from mlbench.data.normalisation import Normalise
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.network_cache import FOLDER, source_of
from mlbench.models.head import Head, with_backbone
from mlbench.runs import cache
from mlbench.runs.checkpoint_file import read_tensors, write_tensors
from mlbench.training.features import features
from mlbench.training.module_modes import eval_mode

AT_ONCE = 16  # examples
RAW_AT_ONCE = 1000  # examples that are hashed together
CLOSE = 1e-4  # of the same logits, computed twice


class FrozenBackbone:
    """All layers of a network but the last, which stay as they are.

    Args:
        net: The whole network, with its weights.
        stream: Its data.
        config: The settings of the run.

    Attributes:
        head: The last layer.

    Raises:
        UserError: For a network whose outputs are not those of a last linear layer, and for augmented data.
    """

    def __init__(self, net: nn.Module, stream: Stream, config: CheckedConfig):
        self.net, self.config, name = net, config, f"model={config.names['model']}"
        if config.training.augment != "none":
            raise UserError(
                f"train.augment={config.training.augment} changes pictures, and model.freeze=backbone computes the "
                "features of each once\ntake train.augment=none"
            )
        try:
            self.head = Head(net)
            with eval_mode(net), torch.no_grad():
                example = stream.example(2)
                known, given = net(example), features(net, example)
                if given.dim() != 2 or not torch.allclose(self.head(given), known, rtol=CLOSE, atol=CLOSE):
                    raise ValueError("its outputs are not those of its last linear layer")
        except ValueError as error:
            raise UserError(f"model.freeze=backbone: {name} cannot be divided ({error}); name layers instead") from None
        self.width = given.shape[1]

    def whole(self, net: nn.Module) -> nn.Module:
        """A trained head, or what a technique has made of it, with the backbone in front."""
        return with_backbone(net, self.net)

    def unfilled(self, stream: Stream) -> Stream:
        """The stream with features of zeros: what can be checked before they are computed."""
        return self.converted(stream, lambda examples: torch.zeros(1, self.width).expand(len(examples), -1))

    def features(self, stream: Stream, note: Callable[[str], None]) -> Stream:
        """The stream with the features of its examples, from the store where they have been computed before.

        Args:
            stream: On the device of the network.
            note: Shows a line.
        """
        return self.converted(stream, lambda examples: self.kept(examples, note))

    def converted(self, stream: Stream, compute: Callable[[Split], Tensor]) -> Stream:
        """The stream with what `compute` gives for its examples [n, D] in their place.

        Splits that share a pool do so again, so that they can be joined.
        """
        groups: dict[tuple[int, ...], list[Split]] = defaultdict(list)
        for split in (split for task in stream.tasks for split in task.splits()):
            groups[id(split.pool), id(split.transform), id(split.normalise)].append(split)
        modality = Tables(tuple(f"feature {number}" for number in range(self.width)))
        as_they_are = Normalise(torch.zeros(1, self.width), torch.ones(1, self.width)).to(
            stream.tasks[0].train.rows.device
        )
        new: dict[int, Split] = {}
        for splits in groups.values():
            examples, places = distinct(splits)
            pool = Pool(compute(examples), modality)
            for split, rows in zip(splits, places, strict=True):
                new[id(split)] = replace(split, pool=pool, rows=rows, normalise=as_they_are, transform=None)
        tasks = [
            replace(
                task,
                **{name: new[id(part)] for name, part in vars(task).items() if isinstance(part, Split)},
                planted=None,
                properties=None,
            )
            for task in stream.tasks
        ]
        return replace(stream, tasks=tasks)

    def kept(self, examples: Split, note: Callable[[str], None]) -> Tensor:
        """The features [n, D] of examples, computed once for the same network and the same contents."""
        architecture = self.config.model.architecture
        made_by = {
            "kind": "features",
            "model": published(architecture),
            "source": source_of(architecture["_target_"], self.config.dirs),
            "weights": hashed(self.frozen_tensors()),
            "normalise": hashed(examples.normalise.buffers()),
            "examples": hashed(examples.raw(index) for index in examples.chunks(RAW_AT_ONCE)),
            "device": examples.labels.device.type,
        }
        path = cache.place(self.config.out / FOLDER, made_by)
        with cache.held(path):
            if not cache.usable(path, self.config.command):
                kind = examples.pool.modality.name
                note(f"the features of {len(examples):,} {kind} are computed once and kept as {path}")
                write_tensors(path, {"features": self.computed(examples)})
                cache.sign(path, self.config.command)
            return read_tensors(path)["features"].to(examples.labels.device)

    def frozen_tensors(self) -> Iterator[Tensor]:
        """What features depend on: all tensors of the network but those of its last layer."""
        own = f"{self.head.path}."
        return (tensor for name, tensor in self.net.state_dict().items() if not name.startswith(own))

    def computed(self, examples: Split) -> Tensor:
        """The features [n, D] of examples."""
        with eval_mode(self.net), torch.no_grad():
            return torch.cat([features(self.net, examples.batch(index).x) for index in examples.chunks(AT_ONCE)])


def distinct(splits: list[Split]) -> tuple[Split, list[Tensor]]:
    """Each example of some splits of one pool once.

    Args:
        splits: They share pool, transform and normalisation.

    Returns:
        The examples, in an order that does not depend on that of the splits, and for each split where its own are.
    """
    first = splits[0]
    tasks = [split.tasks(split.places) * (split.transform is not None) for split in splits]
    pairs = torch.cat([torch.stack([split.rows, task], 1) for split, task in zip(splits, tasks, strict=True)])
    unique, places = pairs.unique(dim=0, return_inverse=True)
    rows, task = unique.unbind(1)
    examples = replace(first, rows=rows, labels=torch.zeros_like(rows), task=task)
    return examples, list(places.split([len(split) for split in splits]))


def hashed(tensors: Iterator[Tensor]) -> str:
    """A hash of the contents of some tensors, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()
