"""What the lecture on network compression claims."""

from collections.abc import Callable
from itertools import pairwise

from mlbench.reporting.claims.base import Check, Claim, Runs
from mlbench.runs import layout
from mlbench.runs.run_record import RunRecord

MNIST = "data=mnist train.epochs=12 train.batch_size=100 train.optimizer=adam train.lr=0.001 train.schedule=linear"
TRAINED_ON = f"{MNIST} compress.finetune_lr=0.001"  # Adam's: with the presets' rates, SGD's, networks die
LENET = "model=lenet_300_100 seed=0,1,2"


def at(stage: str, column: str) -> Callable[[RunRecord], float]:
    """What finds a column of points.csv at a stage. Raises LookupError where there is no such stage."""

    def find(run: RunRecord) -> float:
        for row in run.rows(layout.POINTS):
            if row["stage"] == stage:
                return float(row[column])
        raise LookupError(f"{run.folder} has no {stage}")

    return find


def times(one: str, other: str, column: str) -> Callable[[RunRecord], float]:
    """How many times as much a column of points.csv is at one stage as at another."""
    return lambda run: at(one, column)(run) / at(other, column)(run)


def lost(stage: str, since: str = "dense") -> Callable[[RunRecord], float]:
    """The accuracy that a stage has less than another."""
    return lambda run: at(since, "accuracy")(run) - at(stage, "accuracy")(run)


def prune_small_steps(runs: Runs) -> list[Check]:
    """Many small cuts and one big one, to the same size, with the same training in all."""
    often, once = {"compress.step": 0.2}, {"compress.step": None}
    gained = runs.differences("accuracy", often, once)
    return [Check("accuracy after many small cuts less that after one, equally small, is .01 or more", gained, 0.01)]


def finetune_matters(runs: Runs) -> list[Check]:
    """The same weights, trained on and not."""
    after, before = ({"compress.finetune_epochs": count} for count in (3, 0))
    gained = runs.differences("accuracy", after, before)
    return [Check("accuracy after training on less that before is .01 or more", gained, 0.01)]


def zeros_are_not_smaller(runs: Runs) -> list[Check]:
    """As many weights set to zero as removed with their neurons."""
    zeroed, removed = ({"technique": name} for name in ("prune", "prune_neurons"))
    left = runs.ratios("nonzero_share", zeroed, removed)
    return [
        Check("weights left, zeroed over removed, are .9 or more", left, 0.9),
        Check("and 1.1 or less", left, 1.1, least=False),
        Check("a network with zeros is 1.1 times as fast or less", runs.values("speedup", zeroed), 1.1, least=False),
        Check("one without the neurons is 1.5 times as fast or more", runs.values("speedup", removed), 1.5),
        Check("and takes half of the multiply-adds or less", runs.values("macs_saved", removed), 2.0),
    ]


def importance_of_weights(runs: Runs) -> list[Check]:
    """Before any training on, by size and by chance."""
    chosen, chance = ({"compress.importance": name} for name in ("magnitude", "random"))
    return [
        Check(
            "accuracy without the smallest weights less that without random ones is .1 or more",
            runs.differences("accuracy", chosen, chance),
            0.1,
        )
    ]


def soft_labels(runs: Runs) -> list[Check]:
    """Threes, which the student never saw: what it has learned of them from answers about other digits."""
    return [
        Check(
            "share of threes known from the teacher's answers less that from labels is .5 or more",
            runs.values(
                lambda run: run.value("dropped_accuracy_distilled") - run.value("dropped_accuracy_student_alone")
            ),
            0.5,
        )
    ]


def one_looks_like_seven(runs: Runs) -> list[Check]:
    """What the teacher sees of one digit in another, beside how near their mean pictures are."""
    return [
        Check(
            "rank correlation of mean soft labels with the nearness of mean pictures is .3 or more",
            runs.values("soft_likeness"),
            0.3,
        )
    ]


def temperature(runs: Runs) -> list[Check]:
    """From 1 to 8: flatter answers, the same ones, and a student that learns more from them."""
    cold, warm = {"compress.temperature": 1.0}, {"compress.temperature": 8.0}
    return [
        Check(
            "entropy at T = 8 less that at T = 1 is .5 nats or more", runs.differences("soft_entropy", warm, cold), 0.5
        ),
        Check(
            "answers that T = 8 changes are none (one teacher: by arithmetic)",
            runs.values("answers_changed", warm),
            0.0,
            least=False,
        ),
        Check(
            "share of threes, never seen, that a student knows at T = 8 less that at T = 1 is .2 or more",
            runs.differences("dropped_accuracy_distilled", warm, cold),
            0.2,
        ),
    ]


def ensemble_teacher(runs: Runs) -> list[Check]:
    """Students of four teachers and of one."""
    four, one = ({"compress.ensemble": count} for count in (4, 1))
    gained = runs.differences("accuracy", four, one)
    return [Check("accuracy of four teachers' student less that of one teacher's is .002 or more", gained, 0.002)]


def weight_clusters(runs: Runs) -> list[Check]:
    """Sixteen values a layer."""
    few = "cluster 4 bits"
    return [
        Check("accuracy lost with 4 bits a weight is .01 or less", runs.values(lost(few)), 0.01, least=False),
        Check("files are 6 times smaller or more", runs.values(times("dense", few, "bytes")), 6.0),
    ]


def huffman(runs: Runs) -> list[Check]:
    """The same network in other words."""
    before, after = "cluster 5 bits", "huffman"
    return [
        Check("bytes saved, as a share of those before, are .01 or more", saved(runs, before, after), 0.01),
        Check("accuracy lost is 0 or less", runs.values(lost(after, before)), 0.0, least=False),
        Check("and 0 or more", runs.values(lost(after, before)), 0.0),
    ]


def saved(runs: Runs, before: str, after: str) -> list[float]:
    """By how much the file becomes smaller, as a share of what it was."""
    return [1 - share for share in runs.values(times(after, before, "bytes"))]


def binary_weights(runs: Runs) -> list[Check]:
    """One bit a weight."""
    return [
        Check("accuracy lost is .03 or less", runs.values("error_increase"), 0.03, least=False),
        Check("files are 16 times smaller or more", runs.values("ratio"), 16.0),
    ]


def depthwise_separable(runs: Runs) -> list[Check]:
    """Weights of 3x3 convolutions on grey pictures counted by the formula, and what is left of the accuracy."""

    def off(run: RunRecord) -> float:
        pairs = list(pairwise([1, *run.setting("model.channels")]))
        expected = sum(9 * i * o for i, o in pairs) - sum(9 * i + i * o for i, o in pairs)
        return at("dense", "parameters")(run) - at("separable", "parameters")(run) - expected

    return [
        Check("weights saved less K*K*I*O - (K*K*I + I*O) are 0 or more", runs.values(off), 0.0),
        Check("and 0 or less", runs.values(off), 0.0, least=False),
        Check("accuracy lost is .05 or less", runs.values("error_increase"), 0.05, least=False),
    ]


def low_rank(runs: Runs) -> list[Check]:
    """Half of the weights, and a tenth."""
    half, tenth = {"compress.fraction": 0.5}, {"compress.fraction": 0.1}
    return [
        Check(
            "share of the weights that is left with fraction .5 is .5 or less",
            runs.values("nonzero_share", half),
            0.5,
            False,
        ),
        Check("accuracy lost there is .02 or less", runs.values("error_increase", half), 0.02, least=False),
        Check("accuracy lost with fraction .1 is .05 or more", runs.values("error_increase", tenth), 0.05),
    ]


def early_exit(runs: Runs) -> list[Check]:
    """At the thresholds that lose nothing on validation data."""
    return [
        Check("share of pictures that leave at the first exit is .5 or more", runs.values("first_exit_share"), 0.5),
        Check("accuracy lost is .01 or less", runs.values("exit_error_increase"), 0.01, least=False),
        Check("measured speed is 1.2 times as high or more", runs.values("exit_speedup"), 1.2),
    ]


def adjustable_width(runs: Runs) -> list[Check]:
    """Each width of the one network beside a network of that width."""
    widths = [0.25, 0.5, 0.75, 1.0]
    return [
        Check(
            f"accuracy at width {width:g} less that of a network of its own is -.02 or more",
            [-value for value in runs.values(lost(f"width {width:g}", f"alone {width:g}"))],
            -0.02,
        )
        for width in widths
    ]


CLAIMS = [
    Claim(
        name="prune_small_steps",
        english="Cutting a little and training on, again and again, beats one big cut.",
        chinese="每次只剪一点并微调,反复多次,优于一次剪掉很多。",
        quick=(
            "experiment=prune_small_steps",
            "experiment=prune_small_steps compress.step=null compress.finetune_epochs=54",
        ),
        full=(
            f"experiment=prune_small_steps {TRAINED_ON} {LENET} compress.finetune_epochs=1",
            f"experiment=prune_small_steps {TRAINED_ON} {LENET} compress.step=null compress.finetune_epochs=18",
        ),
        decide=prune_small_steps,
        figures=("accuracy_bytes.png",),
    ),
    Claim(
        name="finetune_matters",
        english="After pruning, a network must be trained on.",
        chinese="剪枝之后需要微调,否则精度会下降。",
        quick=("experiment=finetune_matters",),
        full=(f"experiment=finetune_matters {TRAINED_ON} {LENET}",),
        decide=finetune_matters,
        figures=("accuracy.png",),
    ),
    Claim(
        name="zeros_are_not_smaller",
        english="Weights set to zero leave a network as slow as it was; without their neurons it is faster.",
        chinese="把权重置零,网络的计算量和速度都不变;删除整个神经元,网络才真正变小变快。",
        quick=(
            "experiment=zeros_are_not_smaller",
            "compress=prune model.hidden=[500,500] compress.fraction=0.283 latency_batch=16 seed=0,1,2,3,4",
        ),
        full=(
            f"experiment=zeros_are_not_smaller {TRAINED_ON} seed=0,1,2",
            f"compress=prune model.hidden=[500,500] compress.fraction=0.403 latency_batch=16 {TRAINED_ON} seed=0,1,2",
        ),
        decide=zeros_are_not_smaller,
        figures=("accuracy_latency_ms.png", "accuracy_macs.png"),
    ),
    Claim(
        name="importance_of_weights",
        english="It matters which weights go: the least important ones beat random ones.",
        chinese="剪掉哪些权重很重要:按重要性剪胜过随机剪。",
        quick=("experiment=importance_of_weights",),
        full=(f"experiment=importance_of_weights {TRAINED_ON} {LENET}",),
        decide=importance_of_weights,
        figures=("accuracy.png",),
    ),
    Claim(
        name="soft_labels",
        english="A student learns more from the teacher's distribution than from hard labels.",
        chinese="学生学习老师输出的分布,比只学硬标签学到的更多。",
        quick=("experiment=soft_labels",),
        full=("experiment=distill_without_threes compress.alone=true seed=0,1,2",),
        decide=soft_labels,
        figures=("figures/soft_labels.png",),
    ),
    Claim(
        name="one_looks_like_seven",
        english="The soft labels hold which digits look alike.",
        chinese="软标签包含“哪些数字长得像”的知识,例如“1像7”。",
        quick=("experiment=one_looks_like_seven",),
        full=(f"experiment=one_looks_like_seven {TRAINED_ON} {LENET}",),
        decide=one_looks_like_seven,
        figures=("figures/soft_labels.png",),
    ),
    Claim(
        name="temperature",
        english="Temperature flattens the distribution without changing the teacher's answer, and helps the student.",
        chinese="温度让分布更平滑,不改变老师的分类结果,并且对学生有帮助。",
        quick=("experiment=temperature compress.temperature=1,8",),
        full=("experiment=temperature",),
        decide=temperature,
        figures=("over_temperature.png",),
    ),
    Claim(
        name="ensemble_teacher",
        english="An average of good networks is a better teacher.",
        chinese="多个好网络的平均(集成)是更好的老师。",
        quick=("experiment=ensemble_teacher",),
        full=(f"experiment=ensemble_teacher {TRAINED_ON} {LENET}",),
        decide=ensemble_teacher,
        figures=("accuracy.png",),
    ),
    Claim(
        name="weight_clusters",
        english="A few bits for each weight and a table replace 32-bit weights.",
        chinese="把权重聚类后,每个参数只需几比特,外加一张码表。",
        quick=("experiment=weight_clusters",),
        full=("experiment=cluster_mnist seed=0,1,2",),
        decide=weight_clusters,
        figures=("accuracy_bytes.png",),
    ),
    Claim(
        name="huffman",
        english="Frequent clusters get short codes, and nothing is lost.",
        chinese="常见的类用短编码,不损失任何信息。",
        quick=("experiment=huffman",),
        full=(f"experiment=huffman {MNIST} {LENET}",),
        decide=huffman,
        figures=("accuracy_bytes.png",),
    ),
    Claim(
        name="binary_weights",
        english="Weights of +1 and -1 still classify.",
        chinese="权重只有±1,网络仍能分类。",
        quick=("experiment=binary_weights",),
        full=("experiment=binary_mnist seed=0,1,2",),
        decide=binary_weights,
        figures=("accuracy_bytes.png",),
    ),
    Claim(
        name="depthwise_separable",
        english="Depthwise separable convolutions need K*K*I + I*O weights for K*K*I*O, and little accuracy is lost.",
        chinese="深度可分离卷积把K*K*I*O个参数减少为K*K*I + I*O个,精度损失很小。",
        quick=("experiment=depthwise_separable",),
        full=(f"experiment=depthwise_separable {TRAINED_ON} model.channels=[16,32,64] seed=0,1,2",),
        decide=depthwise_separable,
        figures=("accuracy_bytes.png", "accuracy_macs.png"),
    ),
    Claim(
        name="low_rank",
        english="A matrix of m*n weights becomes a product of m*k and k*n; too small a k costs accuracy.",
        chinese="低秩近似把m*n的矩阵分解为m*k与k*n之积;k过小会损失精度。",
        quick=("experiment=low_rank",),
        full=(f"experiment=low_rank {TRAINED_ON} {LENET}",),
        decide=low_rank,
        figures=("over_fraction.png",),
    ),
    Claim(
        name="early_exit",
        english="Easy inputs can leave a network early.",
        chinese="简单的样本可以提前输出。",
        quick=("experiment=early_exit",),
        full=("experiment=early_exit_mnist seed=0,1,2",),
        decide=early_exit,
        figures=("accuracy_macs.png", "figures/exits.png"),
    ),
    Claim(
        name="adjustable_width",
        english="One network runs at several widths, as well as networks made for each.",
        chinese="同一个网络可以按不同宽度运行,效果接近为每种宽度单独训练的网络。",
        quick=("experiment=adjustable_width seed=0,1,2",),
        full=("experiment=slimmable_mnist seed=0,1,2",),
        decide=adjustable_width,
        figures=("accuracy_macs.png",),
    ),
]
