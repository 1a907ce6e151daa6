"""The command line as a user types it: what is right works, what is wrong gets a short answer and leaves nothing."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.data.test_datasets import arrays

pytestmark = pytest.mark.usefixtures("undrawn")  # nobody looks at the figures

QUICK = ("train.epochs=1", "lifelong=finetune", "data.train_per_task=50")


def folder_is_empty(path):
    return not path.exists() or not any(path.iterdir())


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["lifelong=gme"], ["lifelong=gme", "did you mean 'gem'", "finetune"]),
        (["data=split_mnits"], ["data=split_mnits", "did you mean 'split_mnist'"]),
        (["experiment=gem_cifar10"], ["experiment=gem_cifar10", "did you mean 'gem_cifar100'"]),
        (["lifelong=gem", "lifelong.memry_total=3"], ["lifelong.memry_total", "did you mean 'memory_total'", "margin"]),
        (["train.lrr=3"], ["train.lrr: no such setting", "did you mean 'lr'", "momentum"]),
        (["sed=3"], ["sed: no such setting", "did you mean 'seed'"]),
        (["+train.warmup=3"], ["train.warmup: no such setting", "schedule"]),
        (["+colour=red"], ["colour: no such setting"]),
        (["explain=limes"], ["explain", "did you mean 'lime'"]),
        (["train.lr=abc"], ["train.lr=abc: must be a number"]),
        (["train.epochs=1.5"], ["train.epochs=1.5: must be a whole number"]),
        (["seed=x"], ["seed=x: must be a whole number"]),
        (["force=maybe"], ["force=maybe: must be true or false"]),
        (["model.hidden=[10,x]"], ["model.hidden", "must be a list, each a whole number"]),
        (["train.lr=-1"], ["train.lr=-1.0: allowed is above 0"]),
        (["seed=-1"], ["seed=-1: allowed is 0 or more"]),
        (["threads=0"], ["threads=0: allowed is auto, or 1 to 4096"]),
        (["threads='²'"], ["threads=²: allowed is auto, or 1 to 4096"]),
        (["threads=999999999"], ["threads=999999999: allowed is auto, or 1 to 4096"]),
        (["threads=99999999999999999999"], ["threads=99999999999999999999: allowed are whole numbers of 64 bits"]),
        (["train.batch_size=100000000000000000000"], ["train.batch_size=100000000000000000000: allowed are whole"]),
        (["model.hidden=[9223372036854775808]"], ["model.hidden=[9223372036854775808]: allowed are whole numbers"]),
        (
            ["lifelong=er", "data.task_order=shuffled", "data.order_seed=99999999999999999999999"],
            ["data.order_seed=99999999999999999999999: allowed are whole numbers of 64 bits"],
        ),
        (["data=[digits]"], ["data=: a single name is needed"]),
        (["lifelong=[ewc,gem]"], ["lifelong=: a single name is needed"]),
        (["lifelong=ewc", "lifelong.strength=-2"], ["lifelong.strength=-2.0: allowed is 0 to 1e+38"]),
        (["lifelong=ewc", "lifelong.strength=1e39"], ["lifelong.strength=1e+39: allowed is 0 to 1e+38"]),
        (["lifelong=si", "lifelong.damping=0"], ["lifelong.damping=0.0: allowed is above 0"]),
        (["lifelong=er", "lifelong.policy=fifo"], ["lifelong.policy=fifo: allowed is reservoir|balanced"]),
        (["lifelong=derpp", "lifelong.memory_total=0"], ["lifelong.memory_total=0: allowed is 1 or more"]),
        (["lifelong=agem", "lifelong.replay_batch=0"], ["lifelong.replay_batch=0: allowed is 1 or more"]),
        (["lifelong=lwf", "lifelong.temperature=0"], ["lifelong.temperature=0.0: allowed is above 0"]),
        (
            ["lifelong=packnet", "lifelong.fraction=1.5"],
            ["lifelong.fraction=1.5: allowed is above 0, below 1, or null"],
        ),
        (
            ["lifelong=er", "data.task_order=[1,2]"],
            ["data.task_order=[1, 2]: allowed is fixed, shuffled, or each of 1"],
        ),
        (["lifelong=er", "data=feedback_digits", "data.drift=fog"], ["rotation|noise|contrast|classes"]),
        (
            ["lifelong=er", "data=feedback_digits", "data.feedback_rate=2"],
            ["data.feedback_rate=2.0: allowed is 0 to 1"],
        ),
        (["lifelong=er", "data=feedback_digits", "data.per_round=900"], ["data.per_round=900: allowed is at most"]),
        (
            ["lifelong=er", "data=feedback_digits", "train.validation=0.1", "train.patience=1"],
            ["train.validation", "feedback stream"],
        ),
        (["lifelong=er", "data.order_seed=1"], ["data.order_seed=1: allowed is null unless data.task_order=shuffled"]),
        (["lifelong=joint", "data=feedback_digits"], ["feedback comes round by round", "lifelong=cumulative"]),
        (
            ["lifelong=icarl", "data=split_digits", "data.scenario=task"],
            ["lifelong=icarl is not defined for data.scenario=task", "class|domain"],
        ),
        (["lifelong=ewc", "lifelong.fisher=tru"], ["lifelong.fisher=tru: allowed is empirical|true", "'true'"]),
        (["train.optimizer=sdg"], ["train.optimizer=sdg: allowed is sgd|adam|adamw", "'sgd'"]),
        (["precision=fp16"], ["precision=fp16: allowed is fp32|bf16"]),
        (["lifelong=gem", "data=split_digits", "data.tasks=3"], ["data.tasks=3", "2, 5, 10"]),
        (
            ["lifelong=gem", "data=split_digits", "data.tasks=10", "data.scenario=task"],
            ["data.tasks=10: allowed is fewer than the 10 classes in data.scenario=task"],
        ),
        (
            ["lifelong=gem", "data=split_digits", "data.tasks=10", "data.scenario=domain"],
            ["data.tasks=10: allowed is fewer than the 10 classes in data.scenario=domain"],
        ),
        (["lifelong=gem", "data=split_digits", "data.scenario=tasks"], ["data.scenario=tasks", "task|domain|class"]),
        (["lifelong=gem", "data=digits"], ["lifelong=gem needs a stream of tasks", "split_"]),
        (["data=split_digits"], ["stream of tasks", "lifelong=finetune"]),
        (
            ["lifelong=independent", "data=split_digits", "data.scenario=class"],
            ["lifelong=independent is not defined for data.scenario=class", "task|domain"],
        ),
        (["model=lenet5"], ["LeNet5", "16x16", "8x8"]),
        (["model=torchvision", "model.name=alexnet"], ["model=torchvision does not take pictures of 1x8x8"]),
        (["model=torchvision", "model.name=resnet19"], ["resnet19"]),
        (["model.hidden=[0]"], ["hidden=[0]"]),
        (["model.hidden={_target_:torch.nn.Linear}"], ["model.hidden: a value of another kind is needed"]),
        (["+model.foo={_target_:torch.nn.Bilinear}"], ["model.foo: no such setting"]),
        (
            ["train.validation=0.0001", "train.patience=1"],
            ["train.validation=0.0001 of 1437 examples leaves one side empty"],
        ),
        (["model=cnn", "train.batch_size=1"], ["batch norm", "train.batch_size=2"]),
        (
            ["model=torchvision", "model.name=resnet18", "model.weights=FOO"],
            ["model.weights=FOO is no file", "pretrained, IMAGENET1K_V1"],
        ),
        (["device=cuda:77"], ["device=cuda:77"]),
        (["device=gpu"], ["device=gpu: allowed is auto|cpu|cuda"]),
        (["device=mps"], ["device=mps: allowed is auto|cpu|cuda|cuda:N\n"]),
        (["data=npz"], ["data.path has no value yet"]),
        (["lifelong=null"], ["lifelong=: a name is needed"]),
        (["model=1e3"], ["model=: a name is needed"]),
        (["~model"], ["model is missing; model=NAME chooses it"]),
        (["~seed"], ["no value for seed"]),
        (["lifelong=gem", "~lifelong.margin"], ["lifelong (GEM): no value for margin"]),
        (["data=mnist"], ["mnist could not be fetched", "mnist.npz"]),
        (["checkpoint=nowhere"], ["checkpoint nowhere does not exist"]),
        (["resume=nowhere"], ["resume=nowhere: there is no such folder"]),
        (["resume=nowhere", "train.lr=1"], ["takes its settings from that folder", "train.lr=1"]),
        (["data._target_=os.system"], ["data._target_=os.system", "only classes of mlbench"]),
        (["data._target_=mlbench.data.datasets.digits.Digit"], ["no such class", "'Digits'"]),
        (["data._target_=mlbench.data.digit.Digits"], ["no module mlbench.data.digit"]),
        (["model._target_=torch.hub.load"], ["only classes of mlbench"]),
        (["model._target_=subprocess.Popen"], ["only classes of mlbench"]),
        (["lifelong=gem", "lifelong._target_=mlbench.models.mlp.MLP"], ["not a mlbench.lifelong.base.Method"]),
        (["compress=prun"], ["compress=prun", "did you mean 'prune'"]),
        (["compress=prune", "compress.fraction=1.5"], ["compress.fraction=1.5: allowed is above 0 and below 1"]),
        (["compress=prune", "compress.fractn=0.5"], ["compress.fractn: no such setting", "did you mean 'fraction'"]),
        (["compress=prune", "compress.step=2"], ["compress.step=2.0: allowed is null, or above 0 and below 1"]),
        (["compress=prune", "compress.finetune_epochs=-1"], ["compress.finetune_epochs=-1: allowed is 0 or more"]),
        (["compress=prune", "compress.finetune_lr=0"], ["compress.finetune_lr=0.0: allowed is above 0"]),
        (["compress=prune", "data=permuted_digits"], ["compress=prune takes a network for one task", "plain dataset"]),
        (["compress=prune", "reference=joint"], ["reference means nothing to compress=prune"]),
        (["compress=prune", "data=grammar"], ["model=mlp does not take texts"]),
        (["compress=prune", "checkpoint=nowhere"], ["checkpoint nowhere does not exist"]),
        (["compress=prune", "export=[onx]"], ["allowed is a list of onnx and torch"]),
        (["compress=measure", "latency_batch=0"], ["latency_batch=0: allowed is 1 or more"]),
        (["compress=prune_neurons", "compress.fraction=1"], ["compress.fraction=1.0: allowed is above 0 and below 1"]),
        (["compress=cluster", "compress.bits=9"], ["compress.bits=[9]: allowed is 1 to 8"]),
        (["compress=huffman", "compress.bits=3"], ["compress.bits: no such setting"]),
        (["compress=distill", "compress.temperature=0"], ["compress.temperature=0.0: allowed is above 0"]),
        (["compress=distill", "compress.teachers=[nowhere]"], ["compress.teachers: nowhere does not exist"]),
        (
            ["compress=low_rank", "compress.energy=0.5"],
            ["compress.energy=0.5: allowed is null where fraction is given"],
        ),
        (["compress=slimmable", "compress.widths=[0]"], ["compress.widths=[0.0]: allowed is shares above 0"]),
        (["compress=early_exit", "model=linear"], ["compress=early_exit needs a chain of three layers"]),
        (["compress=binary", "compress.mode=x"], ["compress.mode=x: allowed is deterministic|stochastic"]),
        (["compress=int8", "compress.mode=x"], ["compress.mode=x: allowed is"]),
        (["compress=chain", "compress.stages=[prune,clustr]"], ["compress.stages=clustr", "did you mean 'cluster'"]),
        (["explain=saliency", "explain.sample=3"], ["explain.sample: no such setting", "did you mean 'samples'"]),
        (["explain=saliency", "explain.samples=0"], ["explain.samples=0: allowed is 1 or more"]),
        (["explain=saliency", "explain.target=10"], ["explain.target=10: allowed is a class from 0 to 9"]),
        (["explain=saliency", "explain.images=nowhere"], ["explain.images=nowhere does not exist"]),
        (["explain=saliency", "data=permuted_digits"], ["explain=saliency takes a network for one task"]),
        (["explain=smoothgrad", "explain.noise=-1"], ["explain.noise=-1.0: allowed is 0 or more"]),
        (["explain=integrated_gradients", "explain.steps=0"], ["explain.steps=0: allowed is 1 or more"]),
        (
            ["explain=integrated_gradients", "explain.baseline=grey"],
            ["explain.baseline=grey: allowed is zero|mean|blur"],
        ),
        (["explain=occlusion", "explain.stride=0"], ["explain.stride=0: allowed is 1 to 3"]),
        (["explain=gradcam", "model=mlp"], ["needs a network with a convolution", "model=cnn"]),
        (["explain=gradcam", "explain.layer=nowhere"], ["explain.layer=nowhere: the network has no such layer"]),
        (["explain=lime", "data=grammar"], ["made for pictures, spectrograms and tables", "for texts there are"]),
        (["explain=lime", "explain.segments=0"], ["explain.segments=0: allowed is 2 or more"]),
        (["explain=captum", "explain.attribution=Foo"], ["Foo"]),
        (["explain=probe", "explain.property=colour"], ["explain.property=colour: allowed is upos or xpos"]),
        (["explain=probe", "data=digits"], ["takes texts, as in data=grammar"]),
        (["explain=invert", "data=grammar"], ["made for pictures and spectrograms", "for texts there are"]),
        (["explain=embed", "data=digits", "data.test_examples=8"], ["there are 8, needed are 10"]),
        (["explain=invert", "data=digits", "data.test_examples=1"], ["needed are 2 or more"]),
        (
            [
                "lifelong=gdumb",
                "data=split_digits",
                "lifelong.memory_total=4",
                "train.validation=0.1",
                "train.patience=1",
            ],
            ["train.validation=0.1 of 4 examples leaves one side empty"],
        ),
        (
            ["lifelong=gdumb", "data=permuted_digits", "lifelong.memory_total=1", "model.batch_norm=true"],
            ["batch norm cannot learn from one example at a time"],
        ),
        (
            ["compress=distill", "data=digits", "data.drop_classes=[3]", "data.train_examples=40"],
            ["train.validation=0.1 of", "leaves one side empty"],
        ),
        (["explain=invert", "explain.epochs=0"], ["explain.epochs=0: allowed is 1 or more"]),
        (["explain=maximise", "explain.prior=gans"], ["explain.prior=gans: allowed is none|gan", "did you mean 'gan'"]),
        (["explain=filters", "model=mlp", "explain.layer=x"], ["explain.layer=x: the network has no such layer"]),
        (["explain=mend", "explain.window=99"], ["explain.window=99: with its margins it must be below 8 pixels"]),
        (["lifelong.strength=3"], ["no technique is chosen", "lifelong=NAME"]),
        (["-m", "lifelong=ewc,gem", "lifelong.margn=0.2"], ["margn: no such setting; did you mean 'margin'?"]),
        (["-m", "lifelong=ewc,gem", "lifelong.margin=0.2"], ["margin: lifelong=ewc has no such setting\n", "strength"]),
        (["-m", "lifelong=ewc,gem", "lifelong.fisher=a,b"], ["fisher: lifelong=gem has no such setting\n", "margin"]),
        (
            ["-m", "lifelong=si,ewc,gem", "lifelong.margin=1"],
            ["lifelong=si, lifelong=ewc have no such setting\nallowed here: penalty, strength\n"],
        ),
        (
            ["-m", "lifelong=er,gem", "lifelong.memry_total=3"],
            ["memry_total: no such setting; did you mean 'memory_total"],
        ),
        (["-m", "seed=0,1", "lifelong.strength=3"], ["no technique is chosen", "lifelong=NAME"]),
        (["lifelong=gem", "seed=1,2"], ["seed=1,2: several values are a sweep, which needs -m"]),
        (["lifelong=si", "train.validation=0.1", "train.patience=1"], ["lifelong=si", "take train.patience=0"]),
        (["lifelong=ewc", "train.validation=0.1"], ["without train.patience", "train.patience=N keeps the best epoch"]),
        (["explain=saliency", "train.validation=0.1"], ["without train.patience"]),
        (["train.patience=3"], ["train.patience=3 goes by validation data", "train.validation=0.1 holds a tenth"]),
        (["train.class_weights=[1,2]"], ["train.class_weights has 2 weights; this data has 10 classes"]),
        (["train.class_weights=even"], ["train.class_weights=even: allowed is none, balanced, or the weight"]),
        (["lifelong=er", "train.class_weights=balanced"], ["stream of tasks", "data.balanced=true draws"]),
        (["data.normalise=first_task"], ["data.normalise=first_task: allowed is standardise", "streams of tasks"]),
        (["export=[onnx]"], ["export means nothing to plain training"]),
        (["explain=saliency", "latency_batch=4"], ["latency_batch means nothing to explain=saliency"]),
        (["lifelong=ewc", "export=[torch]"], ["export means nothing to lifelong=ewc"]),
        (["compress=slimmable", "model=resnet18"], ["compress=slimmable needs a chain of layers", "model=cnn"]),
        (["logger=wand"], ["logger=wand", "did you mean 'wandb'"]),
        (["seeds=0"], ["seeds=0: allowed is a whole number from 1"]),
        (["lifelong=ewc", "seeds=2", "seed=1"], ["seeds=2 and seed=1 are both set"]),
        (["lifelong=ewc", "seeds=2", "hydra/launcher=jobib"], ["did you mean 'joblib'"]),
        (["report", "nowhere"], ["nowhere: no such folder"]),
        (["lecture", "forgeting"], ["no claim called forgeting", "did you mean 'forgetting'"]),
        (["train={a"], ["cannot understand 'train={a'"]),
        (["gem"], ["no command called gem"]),
        (["lits"], ["no command called lits", "'list'"]),
        (["list", "models"], ["no group called models", "'model'"]),
        (["data", "get", "mnits"], ["no download called mnits", "'mnist'"]),
        (["data", "put"], ["usage"]),
        (["--config-dir", "nowhere", "data=digits"], ["--config-dir nowhere: no such folder"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and "=" in value[0] else None,
)
def test_a_mistake_gets_a_short_answer_and_leaves_nothing(mlbench, tmp_path, monkeypatch, words, parts):
    if "data=mnist" in words:
        from torchvision import datasets

        monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    own_command = words[0] in ("list", "data", "report", "lecture") or words[0].startswith("resume")
    code, stdout, stderr = mlbench(*words, out=not own_command)
    assert code == 2, stderr
    for part in parts:
        assert part in stderr
    assert len(stderr.strip().splitlines()) <= 2, stderr
    assert "Traceback" not in stderr
    assert not stdout
    assert folder_is_empty(tmp_path / "out")
    assert not (tmp_path / "no-data").exists()


def test_a_mistake_with_a_technique_of_the_users_own_in_a_folder_with_a_space(mlbench, tmp_path):
    own = tmp_path / "my conf é" / "lifelong"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(
        "_target_: mlbench.lifelong.regularisation.l2.L2\nstrength: 1.0\npenalty: proximal\n"
    )
    code, _, stderr = mlbench("--config-dir", str(own.parent), "lifelong=mine", "lifelong.strengh=1")
    assert code == 2
    assert "lifelong.strengh: no such setting; did you mean 'strength'?\nallowed here: penalty, strength" in stderr


def test_two_families_at_once(mlbench, tmp_path):
    own = tmp_path / "conf" / "compress"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: mlbench.lifelong.replay.gem.GEM\n")
    code, _, stderr = mlbench("--config-dir", str(tmp_path / "conf"), "lifelong=gem", "compress=mine")
    assert code == 2
    assert "lifelong and compress are both set" in stderr


def test_no_cuda_is_said(mlbench, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _, stderr = mlbench("device=cuda")
    assert (code, "no CUDA" in stderr) == (2, True)


def test_bad_data_files_are_named(mlbench, tmp_path):
    np.savez(tmp_path / "good.npz", **arrays())
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "truncated.npz").write_bytes(whole[:-200])
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps([1, 2]))
    np.savez(tmp_path / "shape.npz", **arrays(x_train=np.zeros((6, 4), np.uint8)))
    np.savez(tmp_path / "labels.npz", **arrays(y_test=np.array([0, 1, 9])))
    for name in ("truncated", "pickle", "shape", "labels", "missing"):
        path = tmp_path / f"{name}.npz"
        code, _, stderr = mlbench("data=npz", f"data.path={path}")
        assert (code, str(path) in stderr) == (2, True), stderr
    assert folder_is_empty(tmp_path / "out")
    assert mlbench("data=npz", f"data.path={tmp_path / 'good.npz'}", "train.epochs=1")[0] == 0


@pytest.mark.parametrize(
    "content", [{"network": {}, "seconds": 1.0}, {"weights": {"1.weight": torch.zeros(2)}}, {"weights": torch.zeros(2)}]
)
def test_a_file_without_a_trained_network_is_refused(mlbench, tmp_path, content):
    """As an unfinished run of the other families leaves it, or a hand that saved a state_dict."""
    file = tmp_path / "run" / "checkpoints" / "last.pt"
    file.parent.mkdir(parents=True)
    torch.save(content, file)
    for words in ([f"checkpoint={tmp_path / 'run'}"], ["compress=distill", f"compress.teachers=[{file}]"]):
        code, _, stderr = mlbench(*words)
        assert (code, f"{file} holds no trained network" in stderr) == (2, True), stderr
    assert folder_is_empty(tmp_path / "out")


def test_a_task_without_examples_is_refused(mlbench, tmp_path):
    labels = np.array([0, 2, 4, 0, 2, 4])
    np.savez(tmp_path / "gaps.npz", **arrays(y_train=labels, y_test=labels[:3], classes=np.array(list("abcdef"))))
    words = ("lifelong=finetune", "data=split_npz", "data.tasks=6", "data.scenario=class")
    code, _, stderr = mlbench(*words, f"data.source.path={tmp_path / 'gaps.npz'}")
    assert (code, "no training example of class b, d, f" in stderr) == (2, True), stderr
    assert folder_is_empty(tmp_path / "out")


def test_an_out_that_cannot_be_written(mlbench, tmp_path):
    (tmp_path / "file").write_text("")
    for sweep in ([], ["-m", "seed=0,1"]):
        code, _, stderr = mlbench(*sweep, "train.epochs=1", f"out={tmp_path / 'file' / 'results'}", out=False)
        assert (code, "choose another out=" in stderr) == (2, True), stderr


def test_a_disk_that_fills_up_ends_the_run_with_a_clear_error(tmp_path):
    """A limit on the size of files stands in for a full disk: the write fails in the same place."""
    code = """if True:
        import resource, sys
        from mlbench.cli.main import main
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40000, most))
        sys.argv = ["mlbench", *sys.argv[1:]]
        code = main()
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # what measures coverage writes when all is over
        sys.exit(code)
    """
    words = ["train.epochs=1", f"out={tmp_path / 'out'}"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("summary.json"))
    assert not list((tmp_path / "out").rglob("*.part"))


NO_TORCH = (
    "--help",
    "list",
    "list lifelong",
    "data",
    "--version",
    "lifelong=gme",
    "train.lrr=1",
    "train={",
    "--cfg job",
)


@pytest.mark.parametrize("words", [line.split() for line in NO_TORCH], ids=NO_TORCH)
def test_answers_that_need_no_torch_import_none(words, tmp_path):
    code = "import sys; from mlbench.cli.main import main; main(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, cwd=tmp_path)


def test_help_and_list_name_what_there_is(mlbench):
    _, text, _ = mlbench("--help", out=False)
    assert all(word in text for word in ("mlbench list", "resume=", "Exit codes", "shell-completion"))
    _, text, _ = mlbench("list", "lifelong", out=False)
    assert "Gradient episodic memory" in text
    _, text, _ = mlbench("list", out=False)
    assert all(name in text for name in ("split_cifar", "resnet18", "gem_permuted_mnist", "image_folder"))


def test_every_yaml_says_in_its_first_line_what_it_is():
    from mlbench.core.config_groups import GROUPS, entries

    for group in GROUPS:
        for name, text in entries(group).items():
            assert len(text) > 10, f"{group}/{name}.yaml"


def test_data_lists_what_is_there_and_what_is_missing(mlbench, tmp_path, monkeypatch):
    monkeypatch.setenv("MLBENCH_DATA", str(tmp_path))
    np.savez(tmp_path / "mnist.npz", **arrays())
    np.savez(tmp_path / "mine.npz", **arrays())
    _, text, _ = mlbench("data", out=False)
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "there" in lines["mnist"]
    assert "missing" in lines["cifar10"]
    assert "170 MB to download" in lines["cifar10"]
    assert "data.path=mine.npz" in text
    assert mlbench("data", "get", "mnist", out=False)[1].strip().endswith("is there already")
    elsewhere = f"data_dir={tmp_path / 'elsewhere'}"
    assert "12 MB to download" in mlbench("data", elsewhere, out=False)[1]
    assert f"data_dir={tmp_path}" in mlbench("data", f"data_dir={tmp_path}", out=False)[1]


def test_cfg_job_shows_the_config_and_runs_nothing(mlbench, tmp_path):
    code, text, _ = mlbench("lifelong=ewc", "seed=3", "--cfg", "job")
    assert code == 0
    assert "_target_: mlbench.lifelong.regularisation.ewc.EWC" in text
    assert "seed: 3" in text
    assert folder_is_empty(tmp_path / "out")


def test_precedence_command_line_over_experiment_over_family(mlbench):
    def config(*words):
        import yaml

        return yaml.safe_load(mlbench(*words, "--cfg", "job")[1])

    family = config("lifelong=gem")
    assert family["data"]["source"]["_target_"].endswith("Digits")
    preset = config("lifelong=gem", "experiment=gem_permuted_mnist")
    assert (preset["data"]["tasks"], preset["train"]["lr"]) == (20, 0.1)
    own = ("data=split_cifar100", "train.lr=0.5", "model=cnn")
    mine = config("lifelong=gem", "experiment=gem_permuted_mnist", *own)
    assert mine["data"]["source"]["name"] == "cifar100"
    assert mine["train"]["lr"] == 0.5
    assert mine["model"]["_target_"].endswith("CNN")


def test_shell_completion_is_offered():
    done = subprocess.run(
        [sys.executable, "-m", "mlbench", "--shell-completion", "install=bash"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SHELL": "/bin/bash"},
    )
    assert "complete" in done.stdout
