"""Old and new names of modules, and settings that came later: older files can be loaded and keep their hashes."""

from typing import Any

PACKAGE = "mlbench."
# the module as it was first published -> where its classes are now
NEW_NAMES = {
    "compress.binary": "compress.quantisation.binary",
    "compress.cluster": "compress.quantisation.cluster",
    "compress.distill": "compress.distillation.distill",
    "compress.early_exit": "compress.adaptive.early_exit",
    "compress.exits": "compress.adaptive.exit_network",
    "compress.huffman": "compress.quantisation.huffman",
    "compress.int8": "compress.quantisation.int8",
    "compress.low_rank": "compress.factorisation.low_rank",
    "compress.prune": "compress.pruning.unstructured",
    "compress.prune_neurons": "compress.pruning.structured",
    "compress.separable": "compress.factorisation.separable",
    "compress.slimmable": "compress.adaptive.slimmable",
    "compress.ternary": "compress.quantisation.ternary",
    "data.digits": "data.datasets.digits",
    "data.feedback": "data.scenarios.feedback",
    "data.grammar": "data.datasets.grammar",
    "data.image_folder": "data.datasets.image_folder",
    "data.npz": "data.datasets.npz",
    "data.planted": "data.datasets.planted",
    "data.scenarios": "data.scenarios.streams",
    "data.spoken_digits": "data.datasets.spoken_digits",
    "data.tones": "data.datasets.tones",
    "data.treebank": "data.datasets.treebank",
    "data.vision": "data.datasets.torchvision",
    "explain.baselines": "explain.interpretable_models",
    "explain.captum": "explain.attribution.captum",
    "explain.embed": "explain.representation.embed",
    "explain.filters": "explain.feature_visualisation.filters",
    "explain.gradcam": "explain.attribution.gradcam",
    "explain.guided_backprop": "explain.attribution.guided_backprop",
    "explain.input_x_gradient": "explain.attribution.input_x_gradient",
    "explain.integrated_gradients": "explain.attribution.integrated_gradients",
    "explain.invert": "explain.representation.invert",
    "explain.kernel_shap": "explain.attribution.kernel_shap",
    "explain.lime": "explain.attribution.lime",
    "explain.maximise": "explain.feature_visualisation.maximise",
    "explain.mend": "explain.shortcut_removal",
    "explain.occlusion": "explain.attribution.occlusion",
    "explain.probe": "explain.representation.probe",
    "explain.saliency": "explain.attribution.saliency",
    "explain.smoothgrad": "explain.attribution.smoothgrad",
    "lifelong.agem": "lifelong.replay.agem",
    "lifelong.cumulative": "lifelong.bounds.cumulative",
    "lifelong.der": "lifelong.replay.der",
    "lifelong.derpp": "lifelong.replay.derpp",
    "lifelong.er": "lifelong.replay.er",
    "lifelong.ewc": "lifelong.regularisation.ewc",
    "lifelong.finetune": "lifelong.bounds.finetune",
    "lifelong.frozen": "lifelong.bounds.frozen",
    "lifelong.gdumb": "lifelong.replay.gdumb",
    "lifelong.gem": "lifelong.replay.gem",
    "lifelong.generative_replay": "lifelong.replay.generative_replay",
    "lifelong.icarl": "lifelong.replay.icarl",
    "lifelong.independent": "lifelong.isolation.independent",
    "lifelong.joint": "lifelong.bounds.joint",
    "lifelong.l2": "lifelong.regularisation.l2",
    "lifelong.lwf": "lifelong.regularisation.lwf",
    "lifelong.mas": "lifelong.regularisation.mas",
    "lifelong.packnet": "lifelong.isolation.packnet",
    "lifelong.progressive": "lifelong.isolation.progressive",
    "lifelong.rwalk": "lifelong.regularisation.rwalk",
    "lifelong.scp": "lifelong.regularisation.scp",
    "lifelong.si": "lifelong.regularisation.si",
    "loggers.mlflow": "runs.loggers.mlflow",
    "loggers.tensorboard": "runs.loggers.tensorboard",
    "loggers.wandb": "runs.loggers.wandb",
    "models.convolutional": "models.cnn",
    "models.dense": "models.mlp",
}
# settings that came later, with the value at which a run is what it was without them
LATER_SETTINGS = {
    "compress.student.freeze": None,
    "data.balanced": False,
    "data.source.balanced": False,
    "explain.scores": None,
    "export_range": 255,
    "lifelong.epochs": None,
    "model.classes": None,
    "model.freeze": None,
    "model.mean": None,
    "model.outputs": None,
    "model.size": None,
    "model.std": None,
    "reference_epochs": None,
    "train.class_weights": "none",
}
# settings whose default has become null, which depends on the data: the default before, which null is where it mattered
EARLIER_DEFAULTS = {
    "explain.copies": 2,
    "explain.jitter": 2,
    "explain.l2": 0.005,
    "explain.limit": 10,
    "explain.parametrisation": "pixels",
    "explain.steps": 256,
    "explain.total_variation": 0.02,
}
FIRST_NAMES = {now: first for first, now in NEW_NAMES.items()}


def current(target: str) -> str:
    """Return the present name of a `_target_` that this or an earlier version wrote."""
    return translate(target, NEW_NAMES)


def published(value: Any) -> Any:
    """Return a config (nested dicts and lists of plain values) with every `_target_` as it was first published, with
    earlier defaults, and without later settings that change nothing.

    Hashes are made of this, so that neither a finished run nor a cached network is lost when a class moves, or a
    setting is added or gets another default.
    """
    return translate_all(without_later_settings(with_earlier_defaults(value)), FIRST_NAMES)


def with_earlier_defaults(value: Any, prefix: str = "") -> Any:
    """Return a config in which null is the default that a setting had, and that number, where it is given, another."""
    if isinstance(value, dict):
        return {name: with_earlier_defaults(part, f"{prefix}.{name}".lstrip(".")) for name, part in value.items()}
    earlier = EARLIER_DEFAULTS.get(prefix)
    if earlier is None or value not in (None, earlier):
        return value
    return earlier if value is None else [value]


def without_later_settings(value: Any, prefix: str = "") -> Any:
    """Return a config without the settings that came later, where they have the value that changes nothing."""
    if not isinstance(value, dict):
        return value
    return {
        name: without_later_settings(part, f"{prefix}{name}.")
        for name, part in value.items()
        if f"{prefix}{name}" not in LATER_SETTINGS or LATER_SETTINGS[f"{prefix}{name}"] != part
    }


def translate_all(value: Any, names: dict[str, str]) -> Any:
    """Return a config (nested dicts and lists of plain values) with every `_target_` translated by `names`."""
    if isinstance(value, dict):
        return {
            name: translate(part, names) if name == "_target_" and isinstance(part, str) else translate_all(part, names)
            for name, part in value.items()
        }
    return [translate_all(part, names) for part in value] if isinstance(value, list) else value


def translate(target: str, names: dict[str, str]) -> str:
    """Return the dotted name of a class, its module replaced if `names` has another name for it."""
    module, _, name = target.rpartition(".")
    inner = module.removeprefix(PACKAGE)
    return f"{PACKAGE}{names[inner]}.{name}" if module.startswith(PACKAGE) and inner in names else target
