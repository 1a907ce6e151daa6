"""The settings that are read from the text of files, against the composed config and the imported classes."""

import inspect
import subprocess
import sys
import typing

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from mlbench.cli.class_source import Sources
from mlbench.cli.settings_help import Setting, describe, top_level
from mlbench.core.config_groups import FAMILIES, GROUPS, conf_folder, entries
from mlbench.core.instantiate import Blueprint, field_types, words

TECHNIQUES = [(family, name) for family in FAMILIES for name in entries(family)]
CHOICES = [*TECHNIQUES, *((group, name) for group in ("data", "model", "train", "logger") for name in entries(group))]


def imported(target: str) -> type:
    """The class itself."""
    module, _, name = target.rpartition(".")
    return getattr(__import__(module, fromlist=[name]), name)


def flat(node: DictConfig, prefix: str = "") -> dict[str, object]:
    """Dotted name -> value, uninterpolated, of everything that can be set."""
    found = {}
    for name in node:
        child = node._get_node(name)
        if name == "_target_":
            continue
        if isinstance(child, DictConfig) and not child._is_none() and len(child):
            found |= flat(child, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = OmegaConf.to_container(child) if OmegaConf.is_config(child) else child._value()
    return found


@pytest.fixture(scope="module")
def composed():
    """A function that gives the node of a choice as Hydra composes it."""

    def node(group: str, name: str) -> tuple[DictConfig, DictConfig]:
        with initialize_config_dir(config_dir=str(conf_folder()), version_base="1.3"):
            config = compose("config", overrides=[f"{group}={name}"])
        return config[group], config

    return node


@pytest.mark.parametrize(("group", "name"), CHOICES, ids="=".join)
def test_names_and_defaults_are_those_that_hydra_composes(composed, group, name):
    node, _ = composed(group, name)
    found = {each.name: yaml.safe_load(each.default or "???") for each in describe(group, name).settings}
    assert found == flat(node)


@pytest.mark.parametrize(("family", "name"), TECHNIQUES, ids="=".join)
def test_types_are_those_of_the_imported_class(family, name):
    entry = describe(family, name)
    cls = imported(entry.target)
    hints = {key: hint for key, hint in field_types(cls, exclude=set()).items() if not nested(hint)}
    found = {each.name: each.kind for each in entry.settings if "." not in each.name}
    taken = {key for key, each in inspect.signature(cls).parameters.items() if each.kind is not each.VAR_KEYWORD}
    assert set(found) <= taken
    for setting, kind in found.items():
        if hints[setting] is not typing.Any and typing.get_origin(hints[setting]) is not dict:
            assert kind == words(hints[setting])
    assert entry.description == (inspect.getdoc(cls) or "")


def nested(hint: object) -> bool:
    """Whether a field is a node of its own."""
    return hint is Blueprint or (inspect.isclass(hint) and hint.__module__.startswith("mlbench."))


def test_ranges_are_those_that_the_classes_hold_to(mlbench):
    for family, name in TECHNIQUES:
        for each in describe(family, name).settings:
            if each.allowed.startswith("0 to 1") and "." not in each.name:
                code, _, error = mlbench(f"{family}={name}", f"{family}.{each.name}=2e38")
                assert code == 2
                assert f"allowed is {each.allowed}" in error


def setting(group: str, name: str, which: str) -> Setting:
    return next(each for each in describe(group, name).settings if each.name == which)


def test_meanings_come_from_comments_and_survive_files_that_override_the_value():
    assert (
        setting("lifelong", "ewc", "decay").meaning
        == "factor on the importance of earlier tasks; below 1 it is online EWC"
    )
    assert setting("explain", "mend", "attribution.noise").meaning.startswith("standard deviation")
    assert setting("data", "split_mnist", "tasks").allowed.startswith("2 or more")
    assert setting("data", "cifar10", "name").kind == "mnist|fashion_mnist|kmnist|cifar10|cifar100|svhn"


def test_a_setting_checked_in_a_loop_has_its_range():
    assert setting("lifelong", "generative_replay", "latent").allowed == "1 or more"
    assert setting("compress", "slimmable", "widths").allowed == "shares above 0 and up to 1; one width or more"


def test_a_class_that_narrows_a_range_replaces_it():
    assert setting("compress", "prune", "finetune_epochs").allowed == "0 or more"
    assert setting("compress", "distill", "finetune_epochs").allowed == "1 or more: it is what trains"


def test_what_a_technique_brings_is_in_the_composed_config(composed):
    for family, name in TECHNIQUES:
        _, config = composed(family, name)
        for key, value in describe(family, name).brings.items():
            if "." in key:
                assert OmegaConf.select(config, key) == yaml.safe_load(value)
            else:
                assert value in entries(key)


def test_the_top_level_has_all_settings_outside_the_groups(composed):
    _, config = composed("train", "default")
    found = {each.name: yaml.safe_load(each.default) for each in top_level()}
    plain = OmegaConf.masked_copy(config, [key for key in config if key not in (*GROUPS, "hydra")])
    assert found == flat(plain)
    assert next(each for each in top_level() if each.name == "keep").kind == "last|tasks|all"


@pytest.mark.parametrize("words", [("help", "lifelong=ewc"), ("list", "lifelong=ewc")], ids=" ".join)
def test_the_command_prints_defaults_meanings_and_ranges(mlbench, words):
    code, text, error = mlbench(*words, out=False)
    assert (code, error) == (0, "")
    assert "the importance is the Fisher information" in text
    row = next(line for line in text.splitlines() if line.startswith("lifelong.decay"))
    assert row.split("  ")[0] == "lifelong.decay"
    assert "1.0" in row
    assert "factor on the importance of earlier tasks; below 1 it is online EWC" in row
    assert "0 to 1" in row
    assert "train.lr=0.03" in text


def test_every_choice_of_every_group_can_be_printed(mlbench):
    for group in GROUPS:
        for name in entries(group):
            code, text, error = mlbench("help", f"{group}={name}", out=False)
            assert (code, error) == (0, "")
            assert f"{group}={name}" in text


def test_own_methods_are_read_but_never_executed(mlbench, tmp_path):
    (tmp_path / "lifelong").mkdir()
    (tmp_path / "shrink.py").write_text(
        "from dataclasses import dataclass\n"
        "from mlbench.lifelong.regularisation.ewc import EWC\n"
        "raise SystemExit('executed')\n\n\n"
        "@dataclass\nclass Shrink(EWC):\n"
        '    """Smaller steps."""\n\n    factor: float\n'
    )
    (tmp_path / "lifelong" / "shrink.yaml").write_text(
        "# Own\ndefaults:\n  - ewc\n  - _self_\n_target_: shrink.Shrink\nfactor: 0.5  # of each step\n"
    )
    code, text, error = mlbench("--config-dir", str(tmp_path), "help", "lifelong=shrink", out=False)
    assert (code, error) == (0, "")
    assert "Smaller steps." in text
    assert "of each step" in text
    assert "empirical|true" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("help", "lifelong=ewk"), "lifelong=ewk: there is no such lifelong; did you mean 'ewc'?"),
        (("list", "lifelong=ewk"), "lifelong=ewk: there is no such lifelong; did you mean 'ewc'?"),
        (("help", "lifelon=ewc"), "no group called lifelon; did you mean 'lifelong'?"),
        (("help", "foo"), "no group called foo"),
        (("help", "compress=../model/mlp"), "there is no such compress"),
        (("help", "lifelong="), "there is no such lifelong"),
        (("help", "lifelong=ewc", "more"), "usage: mlbench list"),
    ],
    ids=str,
)
def test_mistakes_get_two_lines_at_most(mlbench, words, told):
    code, text, error = mlbench(*words, out=False)
    assert (code, text) == (2, "")
    assert told in error
    assert len(error.strip().splitlines()) <= 2


def test_help_for_a_command_is_the_general_help(mlbench):
    assert mlbench("help", "report", out=False)[1] == mlbench("help", out=False)[1]


def test_nothing_heavy_is_imported():
    script = (
        "import sys; sys.argv = ['mlbench', 'help', 'explain=mend']; from mlbench.cli.main import main; code = main()\n"
        "heavy = ('torch', 'numpy', 'hydra', 'omegaconf', 'mlbench.explain.shortcut_removal')\n"
        "print([name for name in heavy if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_classes_of_other_packages_have_no_description():
    assert Sources().description("torch.nn.Linear") == ""
    assert Sources().ranges("nowhere.Nothing") == {}
