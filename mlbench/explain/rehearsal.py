"""A rehearsal of an explanation: what it computes of a few examples, with the untrained network."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.rehearsal import Rehearsal, rehearsal, shortened
from mlbench.explain.attribution.evaluation import in_parts
from mlbench.explain.attribution.views import VIEWS
from mlbench.explain.base import Attribution, untouched
from mlbench.runs.results import Results


@dataclass
class ExplainRehearsal(Rehearsal):
    """The `Context` of explanations in a rehearsal."""

    def __post_init__(self):
        super().__post_init__()
        self.task = replace(self.stream.tasks[0], train=self.train, test=self.test)
        self.planted, self.black = self.task.planted, self.task.modality.black(self.normalise)

    def chosen(self, method: Attribution) -> Tensor:  # noqa: ARG002
        """The first test example."""
        return torch.arange(1)

    def evaluate(self, method: Attribution, net: nn.Module) -> Results:
        """The map of one example, without a score."""
        view = VIEWS[type(self.task.modality)](net, method, self)
        for examples in view.examples[:1]:  # none where a text is empty
            maps = in_parts(method.maps, examples.net, examples.x[:1], examples.target[:1])
            view.reduced(method, maps)
        return Results("maps")


def rehearse(config: CheckedConfig, stream: Stream, net: nn.Module) -> None:
    """Try the technique on examples of the first task; the network is left as it is.

    Raises:
        UserError: Where the technique cannot explain this network.
    """
    task = stream.tasks[0]
    if not len(task.train) or not len(task.test):
        return  # which is refused where the data are looked at
    with rehearsal(config.technique_name), untouched(net):
        method, context = shortened(config.technique), ExplainRehearsal(config, stream, net)
        if stream.modality.continuous:
            method.rehearse(net, context.train.batch(context.train.places[:2]).x)
        if isinstance(method, Attribution):
            method.explain(net, context)
