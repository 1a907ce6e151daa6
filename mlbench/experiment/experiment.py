"""From a checked config to a run: data, network and runner are built before anything is written, then trained."""

import hashlib
import json
import secrets
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import nn

from mlbench.core.atomic_io import create_folder
from mlbench.core.config_groups import RUNNING
from mlbench.core.csv_files import write_csv
from mlbench.core.errors import Interrupted, RunError, SettingError, UserError
from mlbench.core.file_lock import locked
from mlbench.core.renamed import published
from mlbench.core.rng import Draws
from mlbench.data.class_counts import ClassCounts
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.data_parts import every_part
from mlbench.experiment.family import Family
from mlbench.experiment.frozen_backbone import FrozenBackbone
from mlbench.experiment.model_choice import BACKBONE
from mlbench.experiment.model_setup import build_network, with_weights
from mlbench.experiment.runner import Describe
from mlbench.experiment.technique import check_modality
from mlbench.models.network_record import NetworkRecord
from mlbench.models.surgery import submodule
from mlbench.reporting.class_table import class_table
from mlbench.runs import cache, layout
from mlbench.runs.checkpoint import Trained, normaliser, read_network, record_of
from mlbench.runs.console import Display
from mlbench.runs.foreign_weights import read_foreign
from mlbench.runs.run_dir import Run
from mlbench.runs.run_repair import repair
from mlbench.runs.tracking import Tracker
from mlbench.training.compute import Compute
from mlbench.training.device import choose_device, choose_threads, limit_met, make_deterministic
from mlbench.training.loop import check_trainable


class Experiment:
    """One run of what a command asks for."""

    def __init__(self, config: CheckedConfig, family: Family):
        self.config, self.family = config, family

    def folder(self, by_hash: bool) -> Path:
        """Where the run writes: by a hash of its settings in a sweep, a name nobody else has otherwise.

        The hash is of the names that classes had when they were first published, so that a class that moves takes
        nothing from what is finished.
        """
        if by_hash:
            hashed = published(self.config.resolved(without=RUNNING))
            name = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:16]
        else:
            name = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"[:-3] + f"-{secrets.token_hex(2)}"
        return self.config.out / self.family.name / "-".join(self.config.parts) / name

    def begun(self, folder: Path) -> bool:
        """Whether this run is there to be continued."""
        return cache.usable(folder / layout.CONFIG, self.config.command)

    def tracker(self) -> Tracker:
        """What passes the run's results on to the `logger`, if there is one."""
        name = f"{'-'.join(self.config.parts)} seed {self.config.settings.seed}"
        return Tracker(self.config.logger, name, self.config.resolved(without=["logger"]))

    def run(self, folder: Path, hydra_files: dict[str, str], wait: bool) -> None:
        """Build data, network and runner, then the folder, then train. Raises UserError before the folder is made.

        When another process works on the folder, waits for it, or raises UserError. If that one brings the run to its
        end, there is nothing left to do.
        """
        try:
            self.build_and_run(folder, hydra_files, wait)
        except (MemoryError, RuntimeError) as error:
            if message := limit_met(error, self.config.settings.device):
                raise RunError(message) from error
            raise

    def build_and_run(self, folder: Path, hydra_files: dict[str, str], wait: bool) -> None:
        """The same, with what torch raises left as it is."""
        config, chosen = self.config, self.config.settings
        device = choose_device(chosen.device)
        compute = Compute(device, chosen.precision)
        make_deterministic(chosen.deterministic)
        draws = Draws(chosen.seed, device)
        stream = self.stream(draws)
        net = self.network(stream)
        backbone, describe, seen = None, self.describe(stream), stream
        if config.model.freeze == BACKBONE:
            backbone = FrozenBackbone(net, stream, config)
            describe, seen = self.describe(stream, backbone.whole), backbone.unfilled(stream)
        learner = net if backbone is None else backbone.head
        runner = self.family.prepare(config, seen, learner)
        for task in (task for task in seen.tasks if task.labelled):
            check_trainable(learner, task, config.technique.training_size(task), config.training)
        counts = self.class_counts(stream, draws)
        torch.set_num_threads(choose_threads(chosen.threads, net, stream.example(1), config.training.batch_size))
        files = self.files(hydra_files)
        if not self.begun(folder):
            old = folder.exists()
            with locked(folder / layout.LOCK, wait) if old else nullcontext():
                if not self.begun(folder):  # nor by whoever held it
                    create_folder(folder, files, replace=old and chosen.force)
        net.to(device, memory_format=torch.channels_last)
        with locked(folder / layout.LOCK, wait):
            if layout.is_finished(folder):
                return
            repair(folder, files)
            try:
                about = (config.identity(), chosen.keep, device, Display(), self.tracker(), config.inputs())
                with Run(folder, *about) as run:
                    self.tell_data(run, counts, stream, whole=not wait)
                    stream = stream.to(device)
                    if backbone is not None:
                        stream = backbone.features(stream, run.display.note)
                    runner(stream, learner, config.training, compute, run, draws, describe)()
            except KeyboardInterrupt:
                raise Interrupted(folder, config.dirs) from None
            except RunError as error:
                raise RunError(f"{error}\nwhat was measured is in {folder}") from error

    def stream(self, draws: Draws) -> Stream:
        """The data as tasks. Raises UserError for bad files, and for data that the rest does not go with."""
        config = self.config
        if (record := self.record()) is not None:
            config.data.fit_to(record)
        try:
            stream = config.data.stream(config.data_dir, draws.stream)
        except SettingError as error:
            raise UserError(f"data.{error}") from error
        stream = self.with_own_classes(stream)
        check_modality(config.technique, config.technique_name, stream.modality)
        if stream.feedback is not None and config.training.validation:
            raise UserError(
                "train.validation takes a share of labels that may be none on a feedback stream; set it to 0"
            )
        self.check_class_weights(stream)
        if not stream.tasks[0].labelled and config.technique.needs_labels:
            raise UserError(
                f"data={config.names['data']} has no labels, which {config.technique_name} needs\n"
                "maps need none, as in explain=gradcam"
            )
        if not stream.tasks[0].labelled and not config.is_complete:
            raise UserError(
                f"data={config.names['data']} has no labels to learn from; it is for networks that are trained\n"
                "as in model=efficientnet_lite0, or with checkpoint="
            )
        if stream.outputs < 2 and config.technique.needs_classes:
            reason = (
                f"data={config.names['data']} has the one class {stream.classes[0]}; there is nothing to tell apart"
            )
            raise UserError(f"{reason}\nexplain=probe and explain=embed need no classes")
        return stream

    def record(self) -> NetworkRecord | None:
        """What the data is read for: a network that was trained elsewhere, or, without labels, that of a checkpoint."""
        config = self.config
        if config.model.has_weights:
            return config.model.record
        place = config.settings.checkpoint
        if config.data.labelled or place is None or read_foreign(Path(place)) is not None:
            return None
        return record_of(read_network(Path(place)))

    def with_own_classes(self, stream: Stream) -> Stream:
        """The data with the classes of a network that keeps its own; `config.keeps_outputs` then says so."""
        config, model = self.config, self.config.model
        if not config.data.labelled and config.data.record is not None and not model.has_weights:
            return stream.with_classes(list(config.data.record.classes))
        if stream.scenario is not None or not model.has_weights:
            return stream
        classes = stream.classes if stream.tasks[0].labelled else None
        model.name_outputs(stream.input_shape, classes)
        if not model.keeps_outputs(classes):
            return stream
        config.keeps_outputs = True
        return stream.with_classes(list(model.record.classes))

    def class_counts(self, stream: Stream, draws: Draws) -> list[ClassCounts]:
        """The examples of each class, task by task; none where there are no classes.

        Raises UserError where a task has one class alone. The rounds of a feedback stream may.
        """
        if stream.outputs < 2 or not stream.tasks[0].labelled:
            return []
        technique = self.config.technique
        parts = every_part(stream, self.config.training, draws, technique.chooses)
        counts = [ClassCounts.of(stream, number, *each) for number, each in enumerate(parts)]
        for each in counts[: 1 if stream.feedback else None] if technique.needs_classes else ():
            each.check()
        return counts

    def tell_data(self, run: Run, counts: list[ClassCounts], stream: Stream, whole: bool) -> None:
        """Write class_counts.csv, and say what there is to learn from; with `whole` as a table."""
        rows = [row for each in counts for row in each.rows()]
        write_csv(run.folder / layout.CLASS_COUNTS, ["task", "class", "training", "validation", "test"], rows)
        for line in (*stream.remarks, *(line for each in counts for line in each.empty())):
            run.display.note(line)
        if not whole or not counts:
            return
        if len(counts) > 1:
            sums = [[each.task, *(int(part.sum()) for part in each.parts)] for each in counts]
            run.display.table(class_table(sums, "examples of each task", "task"))
            return
        run.display.table(class_table([row[1:] for row in rows], "examples of each class", "class"))
        if counts[0].majority is not None:
            name, share = counts[0].majority
            run.display.note(f"always answering {name} would be right in {share:.1%} of the test examples")

    def check_class_weights(self, stream: Stream) -> None:
        """Raise UserError where train.class_weights does not go with the classes of the data."""
        weights = self.config.training.class_weights
        if weights != "none" and stream.scenario is not None:
            raise UserError(
                f"train.class_weights={weights} weighs the classes of a single task, and this data is a stream of "
                "tasks\ndata.balanced=true draws as many examples of each class as there are"
            )
        if isinstance(weights, list) and len(weights) != len(stream.classes):
            count = len(stream.classes)
            raise UserError(f"train.class_weights has {len(weights)} weights; this data has {count} classes")

    def network(self, stream: Stream) -> nn.Module:
        """The model with its weights, and the layers frozen that `model.freeze` names. Raises UserError."""
        net, freeze = self.trained_network(stream), self.config.model.freeze
        if freeze and not self.config.technique.learns_on_features:
            raise UserError(
                f"model.freeze is for plain training and lifelong=; {self.config.technique_name} takes the whole "
                "network\ntrain its last layer first, and give the run as checkpoint="
            )
        for path in freeze if isinstance(freeze, list) else ():
            submodule(net, path, "model.freeze").requires_grad_(False)
        if freeze and not any(parameter.requires_grad for parameter in net.parameters()):
            raise UserError(f"model.freeze={freeze} leaves no layer that learns")
        return net

    def trained_network(self, stream: Stream) -> nn.Module:
        """The model, its weights from `checkpoint` if one is given, and `stream` then normalised as it was for these.

        Raises UserError when it does not fit.
        """
        config, name = self.config, self.config.names["model"]
        net = build_network(config.model.blueprint, f"model={name}", stream)
        if config.model.fixed:
            if not config.keeps_outputs:
                raise UserError(
                    f"model={name} runs {config.model.place} as it is, and the classes of this data are not its own\n"
                    "model.classes=[...] names them, where they are the same"
                )
            return net
        if (path := config.model.place) is not None:
            config.model.given(path).give(net, f"model={name}", new_head=not config.keeps_outputs)
        if not config.settings.checkpoint or config.model.reads_checkpoint:
            return net
        if read_foreign(place := Path(config.settings.checkpoint)) is not None:
            config.model.given(place).give(net, f"model={name}")
            return net
        packed, spelling = read_network(place), stream.modality.fingerprint
        net = with_weights(net, packed, f"checkpoint={config.settings.checkpoint}", name, config.dirs, spelling)
        stream.seen_through(normaliser(packed))
        return net

    def describe(self, stream: Stream, whole: Callable[[nn.Module], nn.Module] = lambda net: net) -> Describe:
        """A function that packs a network, `whole` where only a part is trained, with what `mlbench.load` needs."""
        model = self.config.model.architecture
        normalise, spelling = stream.tasks[0].train.normalise, stream.modality.fingerprint
        crop = self.config.data.record.crop if self.config.data.record else 1.0
        about = (
            stream.input_shape,
            stream.outputs,
            stream.classes,
            stream.scenario,
            normalise,
            spelling,
            crop,
            stream.modality.reader,
        )
        return lambda net, other=None: Trained(whole(net), other or model, *about)

    def files(self, hydra_files: dict[str, str]) -> dict[str, str]:
        """The files with which the run's folder begins: name -> content."""
        files = {
            layout.CONFIG: OmegaConf.to_yaml(self.config.composed, resolve=True),
            f"{layout.HYDRA}/{layout.GROUP_NAMES}": OmegaConf.to_yaml(OmegaConf.create(self.config.names)),
            **hydra_files,
        }
        if self.config.command is not None:
            files[cache.signature(Path(layout.CONFIG)).name] = self.config.command
        return files
