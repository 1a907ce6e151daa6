"""The commands behind the manual's tables, one after another; each ends in its table with error bars.

    python scripts/reproduce.py

Needs mnist.npz, cifar100.npz, spoken_digits and ud_english_gum in the data directory ($MLBENCH_DATA); about eight hours
on one core. What is finished is not run again. The settings of the lifelong methods are those of chosen.csv, which
`python scripts/tune_protocols.py` writes: every method by as many trials, on other seeds and training pictures alone.
"""

import argparse
import subprocess
import sys

from tune_protocols import PROTOCOLS, read_chosen

from mlbench.core.child_processes import python_command

SEEDS = {  # of the protocols of tune_protocols.py
    "permuted": "seed=0,1,2,3,4",
    "split": "seed=0,1,2",
    "rotated": "seed=0,1,2",
    "cifar": "seed=0,1,2 threads=1",
}
THREE = "seed=0,1,2 threads=1"
RESNET = (
    "experiment=prune_neurons_resnet18 data.train_examples=500 data.test_examples=1000 train.epochs=1 "
    "compress.finetune_epochs=1 latency_batch=1,16"
)
INVERT = "explain.train_samples=5000 explain.width=16 explain.epochs=8 explain.batch_size=64"
MAPS = "saliency,smoothgrad,integrated_gradients,occlusion,gradcam,guided_backprop"
RESULTS = (
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


def lifelong() -> list[str]:
    """A command for each method of each protocol, with the settings that were chosen for it."""
    chosen = {(row["protocol"], row["method"]): row["settings"] for row in read_chosen()}
    wanted = [(name, method) for name, protocol in PROTOCOLS.items() for method in protocol.methods.split(",")]
    if missing := [" ".join(each) for each in wanted if each not in chosen]:
        told = "have no row in chosen.csv and run with the settings of their presets"
        print(f"{len(missing)} rows ({missing[0]}, ...) {told}", file=sys.stderr)
    return [
        " ".join([*PROTOCOLS[name].command(method), chosen.get((name, method), ""), SEEDS[name]])
        for name, method in wanted
    ]


def sweep(words: str) -> int:
    """Show and run one command."""
    print(f"\n$ mlbench -m {words}", flush=True)
    return subprocess.run(python_command("mlbench", "-m", *words.split()), check=False).returncode


def main() -> int:
    """Run all commands; the first exit code that is not 0."""
    return next((code for words in (*lifelong(), *RESULTS) if (code := sweep(words))), 0)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    sys.exit(main())
