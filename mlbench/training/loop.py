"""The one loop that trains."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.core.errors import NotFinite, RunError, UserError
from mlbench.core.interruption import interruption
from mlbench.data.augmentation import AUGMENTATIONS
from mlbench.data.split import Batch, Split, validation_size
from mlbench.data.stream import Task
from mlbench.training.compute import Compute
from mlbench.training.fit_state import Progress, Session, Watch, end_epoch
from mlbench.training.learner import Learner
from mlbench.training.losses import class_weights
from mlbench.training.module_modes import eval_mode, has_batch_norm, train_mode
from mlbench.training.optimizer import Training, make_optimizer, one_step, set_lr
from mlbench.training.theta import Theta

CHUNK_BYTES = {"cpu": 4 * 2**20, "cuda": 256 * 2**20}  # floats prepared at once: fits a CPU's cache, fills a GPU


def fit(
    net: nn.Module,
    split: Split,
    learner: Learner,
    training: Training,
    compute: Compute,
    generator: torch.Generator,
    session: Session | None = None,
) -> Theta:
    """Train a network in place.

    Args:
        net: The network; in eval mode afterwards.
        split: What it learns from.
        learner: What it learns, and what happens around each step.
        training: The settings of train.*. With `patience` the best epoch on validation data is kept.
        compute: Where and how numbers are computed.
        generator: Draws permutations, augmentation and, where it is needed, the validation data.
        session: Where the fit stands, and what it has around it.

    Returns:
        The parameter vector.

    Raises:
        RunError: When the loss is not finite any more, or there is nothing to learn from.
    """
    session = session or Session()
    progress, watch, validation = session.progress, session.watch, session.validation
    began = time.perf_counter() - progress.seconds
    if learner.development is not None:
        validation = learner.development
    if validation is None and training.patience:
        split, validation = held_out(split, training, generator)
    used = examples_in_epoch(net, len(split), training.batch_size)
    if not used:
        raise RunError(f"there are {len(split)} examples to learn from, too few for a network like this one")
    steps = begun(net, split, learner, training, compute, progress)
    theta, optimizer = steps.theta, steps.optimizer
    with nullcontext() if watch is None else interruption.deferred():  # `shown` stops it, once a checkpoint is written
        while progress.epoch < training.epochs and not progress.stopped:
            if progress.order is None:
                progress.order = torch.randperm(len(split), generator=generator)[:used]
            for index in progress.order[progress.position :].split(chunk_size(split, training.batch_size)):
                if progress.position:
                    began += shown(progress, optimizer, compute, began, watch)
                steps.run(split.batch(index.to(split.labels.device), augmentation(training, generator)), progress)
                progress.position += len(index)
                progress.samples += len(index)
                compute.samples += len(index)
            end_epoch(progress, learner.lr_setting)
            if validation is not None:
                validate(net, validation, learner, training, session)
            began += shown(progress, optimizer, compute, began, watch)
    if not theta.value.isfinite().all():
        raise NotFinite(f"the last step left weights that are not finite; try a smaller {learner.lr_setting}")
    if progress.best is not None:
        net.load_state_dict(progress.best["weights"])
    theta.check()
    net.eval()
    return theta


def held_out(split: Split, training: Training, generator: torch.Generator) -> tuple[Split, Split]:
    """Cut train.validation off; the same cut for every state of `generator`, so also in a resumed run.

    Returns:
        (training data, validation data).
    """
    return split.cut(training.validation, torch.Generator().manual_seed(generator.initial_seed()))


def begun(
    net: nn.Module, split: Split, learner: Learner, training: Training, compute: Compute, progress: Progress
) -> "Steps":
    """The network in training mode, its vector and optimiser, all where `progress` stands, and the learner started."""
    train_mode(net)
    theta = Theta(net, channels_last=True)
    optimizer = make_optimizer(theta, training, learner.undecayed(net, theta, split))
    progress.running = [loss.to(theta.value.device) for loss in progress.running]
    if progress.optimizer is not None:
        optimizer.load_state_dict(progress.optimizer)
    learner.class_weights = class_weights(training.class_weights, split.labels)
    learner.start(net, theta)
    used = examples_in_epoch(net, len(split), training.batch_size)
    total = training.epochs * math.ceil(used / training.batch_size)
    return Steps(net, theta, optimizer, learner, training, compute, total)


def shown(
    progress: Progress, optimizer: torch.optim.Optimizer, compute: Compute, began: float, watch: Watch | None
) -> float:
    """Bring `progress` up to date, show it to `watch`, and return the seconds that took: they are not training."""
    compute.wait()
    now = time.perf_counter()
    progress.seconds = now - began
    progress.optimizer = optimizer.state_dict()
    if watch is not None:
        watch(progress)
        interruption.check()
    return time.perf_counter() - now


@dataclass
class Steps:
    """The inner loop: one optimiser step for each batch of a prepared chunk."""

    net: nn.Module
    theta: Theta
    optimizer: torch.optim.Optimizer
    learner: Learner
    training: Training
    compute: Compute
    total: int  # steps of the whole fit, for the schedule

    def run(self, chunk: Batch, progress: Progress) -> None:
        """Step through `chunk`; losses stay on the device."""
        net, theta, learner, optimizer = self.net, self.theta, self.learner, self.optimizer
        autocast = self.compute.autocast()
        step_size = lambda: one_step(optimizer)  # noqa: E731
        constant = self.training.schedule == "constant"
        for batch in cut_batches(chunk, self.training.batch_size, layout(net)):
            if not constant:
                set_lr(optimizer, self.training, progress.step / self.total)
            batch = learner.batch(batch)
            theta.grad.zero_()
            with autocast:
                loss = learner.loss(net, batch)
            loss.backward()
            learner.adjust(net, theta)
            optimizer.step()
            learner.after_step(net, theta, step_size)
            progress.running.append(loss.detach())
            progress.step += 1


def layout(net: nn.Module) -> torch.memory_format:
    """How pictures lie for `net`: networks without convolutions would have to turn them back.

    Convolutions take two thirds of the time channels-last, with cuDNN and oneDNN.
    """
    convolves = any(isinstance(module, nn.Conv2d) for module in net.modules())
    return torch.channels_last if convolves else torch.contiguous_format


def cut_batches(chunk: Batch, size: int, layout: torch.memory_format) -> Iterator[Batch]:
    """Views of `chunk`, its pictures laid out as told, `size` examples each, the last perhaps fewer."""
    x = chunk.x.contiguous(memory_format=layout) if chunk.x.dim() == 4 else chunk.x
    for part in zip(x.split(size), chunk.y.split(size), chunk.task.split(size), strict=True):
        yield Batch(*part)


def chunk_size(split: Split, batch_size: int) -> int:
    """Examples prepared at once: whole batches, of about CHUNK_BYTES as floats."""
    example = split.pool.examples[0].numel() * 4
    budget = CHUNK_BYTES["cuda" if split.labels.is_cuda else "cpu"]
    return max(1, budget // (example * batch_size)) * batch_size


def examples_in_epoch(net: nn.Module, count: int, batch_size: int) -> int:
    """`count`, less one where that would be a last batch by itself and the network has batch norm."""
    return count - 1 if has_batch_norm(net) and count % batch_size == 1 else count


def check_trainable(net: nn.Module, task: Task, learned: int, training: Training) -> None:
    """Raise UserError where `fit` on the task could not take a step: nothing to learn from, nothing to normalise by.

    `learned` is how many examples it gets for the task.
    """
    if not len(task.train) or not len(task.test):
        raise UserError(f"task {task.name}: there are {len(task.train)} training and {len(task.test)} test examples")
    if training.patience and not training.validation and task.validation is None:
        raise UserError(
            f"train.patience={training.patience} goes by validation data, and this data has none of its own\n"
            "train.validation=0.1 holds a tenth of the training data out"
        )
    if training.augment not in task.modality.augmentations:
        kind = task.modality.name
        raise UserError(f"train.augment={training.augment} changes pictures, and this data is {kind}; take none")
    count = learned - validation_size(training.validation, learned)
    if has_batch_norm(net) and (training.batch_size == 1 or count == 1):
        needed = "two or more to learn from, and train.batch_size=2 or more"
        raise UserError(f"a network with batch norm cannot learn from one example at a time; needed are {needed}")


def augmentation(training: Training, generator: torch.Generator) -> Callable[[Tensor], Tensor] | None:
    """The change that `train.augment` makes to a chunk of uint8 pictures, if any."""
    augment = AUGMENTATIONS[training.augment]
    return None if augment is None else lambda pictures: augment(pictures, generator)


def validate(net: nn.Module, validation: Split, learner: Learner, training: Training, session: Session) -> None:
    """Measure on validation data. Early stopping, where train.patience asks for it, keeps the weights with the lowest
    validation loss and stops after `patience` epochs without."""
    total, progress = 0.0, session.progress
    with eval_mode(net), torch.inference_mode():  # layers that a method holds in eval mode stay there
        for index in validation.chunks(1000):
            total += learner.validation_loss(net, validation.batch(index)).item() * len(index)
    loss = total / len(validation)
    progress.validation_losses.append(loss)
    if session.accuracy is not None:
        progress.validation_accuracies.append(session.accuracy(validation))
    if not training.patience:
        return
    if progress.best is None or loss < progress.best["loss"]:
        weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        progress.best = {"loss": loss, "epoch": progress.epoch, "weights": weights}
    progress.stopped = progress.epoch - progress.best["epoch"] >= training.patience
