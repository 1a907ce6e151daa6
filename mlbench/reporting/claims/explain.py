"""What the lecture on interpretability claims."""

from collections.abc import Callable

from mlbench.reporting.claims.base import Check, Claim, Runs
from mlbench.runs.run_record import RunRecord

THREE = "seed=0,1,2"
MAPS = f"experiment=planted_shortcut {THREE}"


def gap(runs: Runs, one: str, other: str, says: str, bound: float) -> Check:
    """Whether one metric of each run exceeds another by so much."""
    return Check(says, runs.values(lambda run: run.value(one) - run.value(other)), bound)


def power_against_interpretability(runs: Runs) -> list[Check]:
    """A tree that can be read, a linear model, a forest and the network."""
    return [
        gap(
            runs,
            "network_accuracy",
            "readable_tree_accuracy",
            "accuracy of the network less that of a tree of depth 3 is .1 or more",
            0.1,
        ),
        gap(
            runs,
            "network_accuracy",
            "linear_accuracy",
            "accuracy of the network less that of a linear model is .01 or more",
            0.01,
        ),
        gap(
            runs, "forest_accuracy", "tree_accuracy", "accuracy of a forest less that of one tree is .03 or more", 0.03
        ),
        gap(runs, "forest_size", "tree_size", "leaves of the forest less those of the tree are 1,000 or more", 1000),
    ]


def pointing(runs: Runs) -> list[Check]:
    """Maps against noise: whether they point at the planted answer, and what goes when they are followed."""
    return [
        gap(
            runs,
            "pointing",
            "control_random_pointing",
            "share of maps that point at the answer less that of noise is .3 or more",
            0.3,
        ),
        gap(
            runs,
            "control_random_deletion_auc",
            "deletion_auc",
            "area under the deletion curve of noise less that of the maps is .05 or more",
            0.05,
        ),
    ]


def saliency(runs: Runs) -> list[Check]:
    """The same, and whether the maps depend on what was learned."""
    rho = runs.values("randomisation_abs_rho")
    says = "rank correlation of sizes with maps of a random last layer is .8 or less"
    return [*pointing(runs), Check(says, rho, 0.8, False)]


def smoothgrad(runs: Runs) -> list[Check]:
    """How many of the 25 strongest pixels lie in the answer, with noise and without."""
    smooth, plain = ({"technique": name} for name in ("smoothgrad", "saliency"))
    gained = runs.differences("top25_share", smooth, plain)
    return [Check("share of the 25 strongest pixels in the answer less that of saliency is .05 or more", gained, 0.05)]


def hidden_layers(runs: Runs) -> list[Check]:
    """Neighbours of the same class at the top, at the input, and in the untrained network."""
    return [
        gap(
            runs,
            "top_neighbours",
            "layer_0_neighbours",
            "share of neighbours of the same class at the top less that at the input is .1 or more",
            0.1,
        ),
        gap(
            runs,
            "top_neighbours",
            "top_untrained_neighbours",
            "share at the top less that of the untrained network is .1 or more",
            0.1,
        ),
    ]


def probing(runs: Runs) -> list[Check]:
    """The best layer against what needs no layer: the word alone, and an untrained network."""
    return [
        gap(
            runs,
            "ambiguous_accuracy",
            "ambiguous_lookup_accuracy",
            "accuracy on ambiguous words less that of looking the word up is .08 or more",
            0.08,
        ),
        gap(
            runs,
            "ambiguous_accuracy",
            "untrained_ambiguous_accuracy",
            "accuracy on ambiguous words less that on an untrained network's best layer is .1 or more",
            0.1,
        ),
        gap(
            runs,
            "accuracy",
            "untrained_best_accuracy",
            "accuracy on all words is above that on an untrained network's best layer",
            0.0,
        ),
        gap(
            runs,
            "accuracy",
            "majority_accuracy",
            "accuracy less that of the most frequent class is .2 or more",
            0.2,
        ),
    ]


def probe_strength(runs: Runs) -> list[Check]:
    """A linear probe beside the strongest and the weakest with hidden units."""

    def beside(metric: str, choose: Callable[[list[int]], int]) -> list[float]:
        def difference(run: RunRecord) -> float:
            size = choose([units for units in run.setting("explain.hidden") if units])
            return run.value(metric) - run.value(f"mlp_{size}_{metric}")

        return runs.values(difference)

    return [
        Check(
            "selectivity of a linear probe less that of the strongest is .08 or more", beside("selectivity", max), 0.08
        ),
        Check("accuracy of a linear probe less the weakest's is .01 or more", beside("accuracy", min), 0.01),
    ]


def layer_hears(runs: Runs) -> list[Check]:
    """What judges hear in sounds given back from the input, the top layer, and that of the untrained network."""
    return [
        Check("share of digits heard at the top is .9 or more", runs.values("top_digit"), 0.9),
        gap(
            runs,
            "layer_0_speaker",
            "top_speaker",
            "share of speakers heard at the input less that at the top is .2 or more",
            0.2,
        ),
        gap(
            runs,
            "top_untrained_speaker",
            "top_speaker",
            "share of speakers heard at the top of an untrained network less that of the trained is .2 or more",
            0.2,
        ),
    ]


def raw_maximisation(runs: Runs) -> list[Check]:
    """Raw pictures and real ones: as sure the network, as rough and far the pictures."""
    return [
        gap(
            runs,
            "raw_probability",
            "real_probability",
            "the network's probability for raw pictures less that for real ones is -.05 or more",
            -0.05,
        ),
        Check(
            "total variation of raw pictures is 1.5 times that of real ones or more",
            runs.values(lambda run: run.value("raw_total_variation") / run.value("real_total_variation")),
            1.5,
        ),
        Check(
            "their distance to the nearest real picture is 1.5 times that of real ones or more",
            runs.values(lambda run: run.value("raw_nearest_distance") / run.value("real_nearest_distance")),
            1.5,
        ),
    ]


def regularised_maximisation(runs: Runs) -> list[Check]:
    """Pictures of the generator between raw and real ones."""
    return [
        Check(
            "distance of generated pictures to the nearest real one, as a share of that of raw ones, is .6 or less",
            runs.values(lambda run: run.value("regularised_nearest_distance") / run.value("raw_nearest_distance")),
            0.6,
            least=False,
        ),
        Check(
            "their total variation is .5 times that of real ones or more",
            runs.values(variation),
            0.5,
        ),
        Check("and 1.5 times or less", runs.values(variation), 1.5, least=False),
    ]


def variation(run: RunRecord) -> float:
    """Total variation of regularised pictures over that of real ones."""
    return run.value("regularised_total_variation") / run.value("real_total_variation")


def find_and_mend(runs: Runs) -> list[Check]:
    """Accuracy without the shortcut: before, after it was painted over, and after random windows were."""
    return [
        gap(
            runs,
            "clean_accuracy_after",
            "clean_accuracy_before",
            "accuracy without the shortcut after mending less that before is .02 or more",
            0.02,
        ),
        gap(
            runs,
            "clean_accuracy_after",
            "clean_accuracy_random",
            "accuracy after mending less that after random windows is .02 or more",
            0.02,
        ),
    ]


def filters(runs: Runs) -> list[Check]:
    """How far real pictures, the best of them, and one made for a filter excite it."""
    return [
        gap(
            runs,
            metric,
            "random_activation",
            f"mean activation by {name} less that by random real ones is .1 or more",
            0.1,
        )
        for metric, name in (("synthesised_activation", "a synthesised picture"), ("top_activation", "the best real"))
    ]


CLAIMS = [
    Claim(
        name="power_against_interpretability",
        english="Linear models and small trees can be read but are weak; forests and networks are strong and cannot.",
        chinese="线性模型和小决策树可以读懂但较弱;森林和神经网络更强,却难以解释。",
        quick=("experiment=power_against_interpretability",),
        full=(f"experiment=lenet5_mnist explain=baselines {THREE}",),
        decide=power_against_interpretability,
        figures=("figures/baselines.png",),
    ),
    Claim(
        name="occlusion",
        english="What changes the output most when it is covered is important.",
        chinese="遮住后使输出变化最大的部分是重要的。",
        quick=("experiment=occlusion",),
        full=(f"{MAPS} explain=occlusion",),
        decide=pointing,
        figures=("figures/maps.png", "figures/deletion.png"),
    ),
    Claim(
        name="saliency",
        english="Where the gradient is large, the picture is important, too.",
        chinese="梯度大的地方也是重要的。",
        quick=("experiment=saliency",),
        full=(f"{MAPS} explain=saliency",),
        decide=saliency,
        figures=("figures/maps.png", "figures/randomisation.png"),
    ),
    Claim(
        name="smoothgrad",
        english="Averaging the maps of noisy copies removes the noise.",
        chinese="对加噪副本的显著图取平均,可以去除噪声,使图更清晰。",
        quick=("experiment=smoothgrad", "experiment=saliency"),
        full=(f"{MAPS} explain=smoothgrad", f"{MAPS} explain=saliency"),
        decide=smoothgrad,
        figures=("figures/maps.png",),
    ),
    Claim(
        name="hidden_layers",
        english="With depth, the classes separate.",
        chinese="层越深,各个类别分得越开。",
        quick=("experiment=hidden_layers",),
        full=(f"experiment=cnn_mnist explain=embed {THREE}",),
        decide=hidden_layers,
        figures=("figures/layers.png", "figures/neighbours.png"),
    ),
    Claim(
        name="probing",
        english="A probe on a layer tells whether a property is there.",
        chinese="探针可以检验某一层是否含有某种信息。",
        quick=("experiment=probing",),
        full=(f"experiment=probe_gum {THREE}",),
        decide=probing,
        figures=("figures/accuracies.png",),
    ),
    Claim(
        name="probe_strength",
        english="A probe that is too strong learns the task itself, one that is too weak sees too little.",
        chinese="探针不能太强,否则它自己就学会了任务;也不能太弱,否则看不到信息。",
        quick=("experiment=probe_strength",),
        full=(f"experiment=probe_gum {THREE}",),
        decide=probe_strength,
        figures=("figures/strength.png",),
    ),
    Claim(
        name="layer_hears",
        english="What can no longer be reconstructed was thrown away: the speaker goes, the content stays.",
        chinese="无法还原的信息已被该层丢弃:说话人的特征逐渐消失,说话的内容保留下来。",
        quick=(f"explain=invert {THREE}",),
        full=(f"experiment=layer_hears {THREE}",),
        decide=layer_hears,
        figures=("figures/layers.png",),
        sounds=("artefacts/*.wav",),
    ),
    Claim(
        name="raw_maximisation",
        english="The picture that maximises a class looks like noise to people.",
        chinese="直接最大化某一类得到的图像,在人看来像噪声。",
        quick=("experiment=raw_maximisation",),
        full=(f"experiment=lenet5_mnist explain=maximise explain.prior=gan {THREE}",),
        decide=raw_maximisation,
        figures=("figures/maximised.png",),
    ),
    Claim(
        name="regularised_maximisation",
        english="A generator makes it look natural.",
        chinese="借助生成模型(GAN)等正则化手段,得到的图像看起来更自然。",
        quick=("experiment=regularised_maximisation",),
        full=(f"experiment=lenet5_mnist explain=maximise explain.prior=gan {THREE}",),
        decide=regularised_maximisation,
        figures=("figures/maximised.png",),
    ),
    Claim(
        name="find_and_mend",
        english="An explanation shows why a model errs, and how to make it better.",
        chinese="解释能指出模型为何出错,并帮助改进模型。",
        quick=("explain=mend data.share=0.97 model.over_places=maximum seed=0,1,2,3,4",),
        full=(f"experiment=find_and_mend {THREE}",),
        decide=find_and_mend,
        figures=("figures/mended.png",),
    ),
    Claim(
        name="filters",
        english="A filter looks for one thing.",
        chinese="一个滤波器检测一种特定的图案。",
        quick=("experiment=filters",),
        full=(f"experiment=cnn_mnist explain=filters {THREE}",),
        decide=filters,
        figures=("figures/filters.png",),
    ),
]
