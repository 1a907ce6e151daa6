"""mlbench's side of compare_peers.py, which starts it: the methods through the one loop, as the runner calls them."""

from collections.abc import Callable

import torch
from peers_protocol import BATCH, MARGIN, MEMORIES, REFERENCE, STRENGTH, Lesson, serve

from mlbench.lifelong.base import Method
from mlbench.lifelong.bounds.finetune import Finetune
from mlbench.lifelong.regularisation.ewc import EWC
from mlbench.lifelong.replay.agem import AGEM
from mlbench.lifelong.replay.er import ER
from mlbench.lifelong.replay.gem import GEM
from mlbench.training.compute import Compute
from mlbench.training.fit_state import Progress, Session
from mlbench.training.loop import fit
from mlbench.training.optimizer import Training


def ewc(lesson: Lesson) -> Method:
    """The Fisher information of all of a task's examples, as the other side computes it."""
    return EWC(STRENGTH, "proximal", "empirical", max(len(task.train) for task in lesson.stream.tasks), 1.0)


METHODS: dict[str, Callable[[Lesson], Method]] = {
    "naive": lambda _: Finetune(),
    "EWC": ewc,
    "EWC, one penalty": ewc,
    "GEM": lambda lesson: GEM(MEMORIES * len(lesson.stream.tasks), MARGIN),
    "A-GEM": lambda lesson: AGEM(replay_batch=REFERENCE, memory_total=MEMORIES * len(lesson.stream.tasks)),
    "replay": lambda lesson: ER(
        replay_batch=None, memory_total=MEMORIES * len(lesson.stream.tasks), policy="reservoir"
    ),
}


def prepare(lesson: Lesson) -> Callable[[], int]:
    """See `Prepare`."""
    method, generator = METHODS[lesson.method](lesson), torch.Generator().manual_seed(lesson.seed)
    settings = Training(1, BATCH, "sgd", lesson.lr, 0.0, 0.0, "constant", "none", 0.0, 0)
    method.begin(lesson.stream, settings, Compute(), torch.Generator().manual_seed(lesson.seed))

    def learn() -> int:
        steps = 0
        for number, task in enumerate(lesson.stream.tasks):
            lesson.stream.heads.begin_task(number)
            net, progress = method.start_task(lesson.net, task), Progress()
            theta = fit(net, method.examples(task.train), method, settings, Compute(), generator, Session(progress))
            method.end_task(net, theta, task)
            steps += progress.step
        return steps

    return learn


if __name__ == "__main__":
    serve(prepare)
