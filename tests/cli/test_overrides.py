"""What is typed on the command line is what arrives in the config, whatever characters a path is made of."""

import shlex
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from mlbench.cli.overrides import TEXTS, for_hydra
from mlbench.cli.settings_help import describe, top_level
from mlbench.core.command_line import command, path_setting, quoted
from mlbench.core.config_groups import GROUPS, conf_folder, entries
from mlbench.core.errors import Interrupted

PATHS = [
    "/tmp/结果",
    "~/x",
    "epoch=9.npz",
    "a (1).npz",
    "1e5",
    "007",
    "my run",
    "it's.pt",
    'say "hi".pt',
    "{x}.npz",
    "[x].npz",
    "x].npz",
    "(x",
    r"C:\data\neu.npz",
    "a\\",
    r"a\'b",
    " spaces ",
    "a$b",
    "$HOME/x",
    "#1.npz",
    "a#b?c%d",
    "a@b:c",
    "true",
    "0x10",
    "nan",
    "a&b;c|d>e<f*g!",
    "a,b.npz",
    "Größe/naïve/ünï",
    "🙂/\u0645.npz",
    "a:b",
    "-x",
    "+x",
    "choice(a,b)",
    "range(3)",
    "a=b=c",
    "'",
    "''x",
    "tab\there",
]
SETTINGS = ["out", "data_dir", "checkpoint", "resume"]


@pytest.fixture(scope="module")
def whole():
    """The configs of two commands; Hydra takes long to compose one."""
    with initialize_config_dir(config_dir=str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=["compress=distill", "data=table"])


@pytest.fixture
def composed(whole):
    """The config that a command makes, with its settings put in as Hydra does."""

    def compose_with(words):
        config = whole.copy()
        for each in OverridesParser.create().parse_overrides([word for word in words if not word.startswith("-")]):
            if each.key_or_group not in GROUPS:
                OmegaConf.update(config, each.key_or_group, each.value(), force_add=each.is_force_add())
        return config

    return compose_with


@pytest.mark.parametrize("path", PATHS)
def test_a_path_arrives_as_it_was_typed(path, composed):
    config = composed(for_hydra([*(f"{name}={path}" for name in SETTINGS), f"data.path={path}"]))
    assert [config[name] for name in SETTINGS] == [path] * len(SETTINGS)
    assert config.data.path == path


@pytest.mark.parametrize("path", ["a (1).pt", "结果.pt", "1e5", "~/x", "epoch=9.pt", "my run"])
def test_a_list_of_paths_arrives_as_it_was_typed(path, composed):
    assert composed(for_hydra([f"compress.teachers=[{path}, b.pt]"])).compress.teachers == [path, "b.pt"]
    assert composed(for_hydra([f"data.path=[{path},b.png]"])).data.path == [path, "b.png"]


@pytest.mark.parametrize("path", [path for path in PATHS if "," not in path])
def test_a_path_arrives_in_each_job_of_a_sweep(path, composed):
    words = for_hydra(["-m", f"out={path}", "data=npz", f"data.path={path}", "seed=0,1"])
    jobs = jobs_of(words)
    assert len(jobs) == 2
    for seed, job in enumerate(jobs):
        config = composed(job)
        assert (config.seed, config.out, config.data.path) == (seed, path, path)


def jobs_of(words):
    overrides = OverridesParser.create().parse_overrides([word for word in words if word != "-m"])
    (batch,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return [list(job) for job in batch]


def test_commas_of_a_sweep_are_between_paths_unless_there_is_such_a_file(tmp_path, monkeypatch, composed):
    monkeypatch.chdir(tmp_path)
    paths = [composed(job).checkpoint for job in jobs_of(for_hydra(["-m", "checkpoint=a (1).pt,b=2.pt,'c,d.pt'"]))]
    assert paths == ["a (1).pt", "b=2.pt", "c,d.pt"]
    Path("a,b.pt").touch()
    assert [composed(job).checkpoint for job in jobs_of(for_hydra(["-m", "checkpoint=a,b.pt"]))] == ["a,b.pt"]


def test_two_files_without_a_sweep_stay_the_mistake_that_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.pt", "b.pt"):
        Path(name).touch()
    assert for_hydra(["checkpoint=a.pt,b.pt"]) == ["checkpoint=a.pt,b.pt"]


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("checkpoint=null", "checkpoint", None),
        ("checkpoint='a b'", "checkpoint", "a b"),
        ('checkpoint="null"', "checkpoint", "null"),
        ("out=${data_dir}/x", "out", "/d/x"),
        ("out=${data_dir}/结 果", "out", "/d/结 果"),
        ("model.hidden=[3,4]", "model.hidden", [3, 4]),
        ("++extra={a:1,b:[x,y]}", "extra", {"a": 1, "b": ["x", "y"]}),
        ("train.lr=0.5", "train.lr", 0.5),
        ("++train.schedule=結果", "train.schedule", "結果"),
        ("train.schedule=a (b", "train.schedule", "a (b"),
    ],
)
def test_other_values_keep_their_meaning(word, name, value, composed):
    config = composed(for_hydra(["data_dir=/d", word]))
    for part in name.split("."):
        config = config[part]
    assert config == value


@pytest.mark.parametrize(
    ("word", "values"),
    [("train.lr=0.1,0.2", [0.1, 0.2]), ("train.lr=choice(1,2)", [1, 2]), ("train.schedule=結果,b )", ["結果", "b )"])],
)
def test_sweeps_keep_their_values(word, values, composed):
    name = word.partition("=")[0].rpartition(".")[2]
    assert [composed(job).train[name] for job in jobs_of(for_hydra(["-m", word]))] == values


@pytest.mark.parametrize("path", [*PATHS, "null", "'in quotes'", "a${b}c"])
def test_a_printed_command_can_be_pasted(path, composed):
    """The shell is bash itself."""
    told = str(Interrupted(Path(path), ())).partition("go on with: mlbench ")[2]
    printed = subprocess.run(["bash", "-c", f"printf %s {told}"], capture_output=True, text=True, check=True)
    word = printed.stdout
    assert composed(for_hydra([word])).resume == str(Path(path))


def test_a_name_that_means_a_missing_value_is_told_apart(composed):
    assert composed(for_hydra([path_setting("resume", "???")])).resume == "./???"


def test_folders_of_the_users_own_stand_in_the_printed_command():
    told = str(Interrupted(Path("/a b/run"), (Path("/my conf"), Path("/it's"))))
    words = shlex.split(told.partition("go on with: ")[2])
    assert words == ["mlbench", "--config-dir", "/my conf", "--config-dir", "/it's", "resume=/a b/run"]


def test_every_free_text_of_the_config_is_taken_as_text():
    """All settings of type text whose words are not fixed; a layer and a class are names in Python."""
    free = {setting.name for setting in top_level() if setting.kind.startswith("a text") and not setting.allowed}
    for group in ("data", "model", "compress", "explain", "lifelong", "logger"):
        for name in entries(group):
            found = describe(group, name).settings
            free |= {f"{group}.{each.name}" for each in found if each.kind in ("a text", "a text or null")}
    named_in_python = {
        "device",
        "model.name",
        "model.weights",
        "explain.attribution",
        "explain.layer",
        "explain.property",
    }
    assert free - named_in_python <= TEXTS


@pytest.mark.parametrize("text", PATHS)
def test_quotes_hold_any_text(text):
    assert OverridesParser.create().parse_override(f"x={quoted(text)}").value() == text
    assert shlex.split(command("mlbench", path_setting("out", text)))[0] == "mlbench"


def test_a_home_of_nobody_is_a_name_and_one_in_a_flag_is_a_home(mlbench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "own" / "train").mkdir(parents=True)
    (tmp_path / "home" / "own" / "train" / "short.yaml").write_text("# short\ndefaults: [/train/default]\n")
    words = ["model=linear", "data.train_examples=20", "data.test_examples=20", "train.epochs=1"]
    code, _, error = mlbench(*words, "out=~nobody-of-this-name", out=False)
    assert code == 0, error
    assert (tmp_path / "~nobody-of-this-name" / "plain").is_dir()
    code, output, error = mlbench("--config-dir=~/own", "train=short", "--cfg", "job", out=False)
    assert code == 0, error
    assert "epochs:" in output
