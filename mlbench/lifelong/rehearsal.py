"""A rehearsal of a lifelong method: one step of two tasks through all of its hooks, with the untrained network."""

import copy
from dataclasses import replace

import torch
from torch import nn

from mlbench.core.errors import NotFinite
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.rehearsal import few, rehearsal, short_training, shortened
from mlbench.training.compute import Compute
from mlbench.training.evaluation import accuracy
from mlbench.training.loop import examples_in_epoch, fit

TASKS = 2  # with the first one a method has nothing to remember yet


def rehearse(config: CheckedConfig, stream: Stream, net: nn.Module) -> None:
    """Learn a few examples of the first two tasks and answer them; neither the stream nor the network changes.

    Raises:
        UserError: Where the method cannot learn with this network.
    """
    with rehearsal(config.technique_name):
        method, generator = shortened(config.technique), torch.Generator().manual_seed(0)
        training, compute = short_training(config.training), Compute()
        tasks = [replace(t, train=few(t.train, net), test=few(t.test, net)) for t in stream.tasks[:TASKS]]
        stream = method.stream(replace(stream, tasks=tasks, heads=copy.deepcopy(stream.heads)))
        method.begin(stream, training, compute, generator)
        net = copy.deepcopy(net)
        for number, task in enumerate(stream.tasks):
            stream.heads.begin_task(task.train.newest_task)
            if not examples_in_epoch(net, len(task.train), training.batch_size):
                continue
            net = method.start_task(net, task)
            try:
                theta = fit(net, method.examples(task.train), method, training, compute, generator)
            except NotFinite as error:  # not by the learning rate, which is tiny here
                raise ValueError(str(error).partition(";")[0]) from error
            method.end_task(net, theta, task)
            accuracy(method.predictor(net, number), task.test, method.logits)
