"""The commands behind the manual's tables, one after another; each ends in its table with error bars.

    python scripts/reproduce.py [--tune]

Needs mnist.npz, cifar100.npz, spoken_digits and ud_english_gum in the data directory ($MLBENCH_DATA); about seven hours
on one core. What is finished is not run again. `--tune` repeats the choice of learning rates and of strengths instead:
other seeds, and only training pictures of MNIST (the last 10,000 of them take the place of the test set).
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from development import write_development

from mlbench.core.config_groups import data_dir
from mlbench.data.dataset import read_npz

PERMUTED = "experiment=gem_permuted_mnist seed=0,1,2,3,4"
ROTATED = "experiment=gem_rotated_mnist seed=0,1,2"
CIFAR = "data=split_cifar100 data.tasks=5 data.train_per_task=300 model=resnet18 model.width=20 seed=0,1,2 threads=1"
CLASSES = "data=split_mnist data.scenario=class data.train_per_task=2000 train.epochs=1 seed=0,1,2"
THREE = "seed=0,1,2 threads=1"
RESNET = (
    "experiment=prune_neurons_resnet18 data.train_examples=500 data.test_examples=1000 train.epochs=1 "
    "compress.finetune_epochs=1 latency_batch=1,16"
)
INVERT = "explain.train_samples=5000 explain.width=16 explain.epochs=8 explain.batch_size=64"
MAPS = "saliency,smoothgrad,integrated_gradients,occlusion,gradcam,guided_backprop"
RESULTS = (
    f"{PERMUTED} lifelong=finetune train.lr=0.03",
    f"{PERMUTED} lifelong=l2,ewc,si,mas,rwalk,scp,lwf,agem,gem,er,der,derpp,gdumb,packnet,independent,joint",
    f"{ROTATED} lifelong=finetune train.lr=0.01",
    f"{ROTATED} lifelong=ewc,gem",
    f"{CIFAR} lifelong=finetune",
    f"{CIFAR} lifelong=er,gem lifelong.memory_total=250",
    f"{CLASSES} lifelong=finetune,ewc,si,mas,rwalk,scp,l2,er,der,derpp,gdumb,icarl,generative_replay",
    "data=feedback_mnist seed=0,1,2 lifelong=frozen,finetune,ewc,gem,cumulative",
    "data=feedback_digits seed=0,1,2 lifelong=frozen,finetune,ewc,gem,cumulative",
    "experiment=curriculum",
    "experiment=ewc_strength",
    f"experiment=deep_compression_lenet300,deep_compression_lenet300_small,deep_compression_lenet5 {THREE}",
    f"experiment=binary_mnist,cluster_mnist,lottery_ticket,distill_without_threes,early_exit_mnist {THREE}",
    f"experiment=slimmable_mnist {THREE}",
    f"experiment=slimmable_mnist compress.batch_norm=shared,switchable compress.alone=false {THREE}",
    f"{RESNET} {THREE}",
    "experiment=temperature",
    "compress=distill compress.ensemble=1,4 compress.alone=false seed=0,1,2,3,4",
    f"experiment=planted_shortcut explain={MAPS} {THREE}",
    f"experiment=find_and_mend {THREE}",
    f"experiment=cnn_mnist explain=saliency,gradcam,integrated_gradients,guided_backprop {THREE}",
    f"experiment=lenet5_mnist explain=maximise explain.prior=none,gan {THREE}",
    f"experiment=lenet5_mnist explain=maximise explain.parametrisation=fourier {THREE}",
    f"experiment=lenet5_mnist explain=baselines {THREE}",
    f"experiment=cnn_mnist explain=embed {THREE}",
    f"experiment=cnn_mnist explain=invert {INVERT} {THREE}",
    f"explain=probe {THREE}",
    f"explain=invert {THREE}",
    f"experiment=classify_grammar explain=occlusion,saliency,integrated_gradients {THREE}",
    f"experiment=probe_gum {THREE}",
    f"experiment=layer_hears {THREE}",
)
DEVELOPMENT = (
    "experiment=gem_permuted_mnist data=permuted_npz data.source.path={path} data.test_per_task=1000 "
    "seed=100,101,102,103,104"
)
ROTATIONS = DEVELOPMENT.replace("gem_permuted_mnist", "gem_rotated_mnist").replace("permuted_npz", "rotated_npz")
TUNING = (
    f"{DEVELOPMENT} lifelong=finetune train.lr=0.01,0.02,0.03,0.05,0.1",
    f"{DEVELOPMENT} lifelong=ewc lifelong.strength=0.1,0.3,1,3 train.lr=0.03,0.05,0.1",
    f"{ROTATIONS} lifelong=finetune",
    f"{ROTATIONS} lifelong=l2 lifelong.strength=0.01,0.03,0.1",
    f"{ROTATIONS} lifelong=ewc lifelong.strength=0.3,1,3",
    f"{ROTATIONS} lifelong=si lifelong.strength=0.1,0.3,1",
    f"{ROTATIONS} lifelong=mas lifelong.strength=0.003,0.01,0.03",
    f"{ROTATIONS} lifelong=rwalk lifelong.strength=1,3,10",
    f"{ROTATIONS} lifelong=scp lifelong.strength=1,3,10",
)


def sweep(words: str) -> int:
    """Show and run one command."""
    print(f"\n$ mlbench -m {words}", flush=True)
    return subprocess.run([sys.executable, "-m", "mlbench", "-m", *words.split()], check=False).returncode


def main(tune: bool) -> int:
    """Run all commands; the first exit code that is not 0."""
    if not tune:
        return next((code for words in RESULTS if (code := sweep(words))), 0)
    with tempfile.TemporaryDirectory() as folder:
        mnist = read_npz(data_dir() / "mnist.npz")
        path = write_development(mnist, Path(folder) / "mnist_development.npz", shuffled=False)
        return next((code for words in TUNING if (code := sweep(words.format(path=path)))), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tune", action="store_true")
    sys.exit(main(parser.parse_args().tune))
