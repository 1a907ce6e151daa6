"""What methods must share to be compared, as far as it can be seen from outside."""

import torch
from torch import nn

from mlbench.data.split import Split
from mlbench.data.stream import Task
from mlbench.lifelong.base import Method
from mlbench.training.module_modes import eval_mode

TOLD_BY = 100  # test examples by which one sees whether answers depend on the number of the task


def answers_by_task(method: Method, net: nn.Module, tests: list[Split]) -> bool:
    """Whether the answers to the same examples depend on the task that they are said to be of.

    Args:
        method: Has learned all tasks.
        net: The network just trained.
        tests: The test data of each task; the first examples of the first task are answered as being of each.
    """
    batch = tests[0].batch(tests[0].places[:TOLD_BY])
    answers = []
    for number in range(len(tests)):
        predictor = method.predictor(net, number).to(batch.x.device)
        with eval_mode(predictor), torch.inference_mode():
            answers.append(method.logits(predictor, batch))
    return any(not torch.allclose(answers[0], other, equal_nan=True) for other in answers[1:])


def earlier_examples(task: Task) -> int:
    """How many of the examples to learn from are of earlier tasks, and had to be stored."""
    split = task.train
    return int((split.tasks(split.places) < split.newest_task).sum())
