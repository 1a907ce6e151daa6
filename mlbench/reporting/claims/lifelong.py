"""What the lecture on lifelong learning claims."""

from mlbench.reporting.claims.base import Check, Claim, Runs, Settings, best_on_other_seeds

JOINT, FINETUNE, GEM = ({"technique": name} for name in ("joint", "finetune", "gem"))
FIVE = "seed=0,1,2,3,4"
MNIST = f"experiment=gem_permuted_mnist {FIVE}"


def forgetting(runs: Runs) -> list[Check]:
    """How far each task falls, and how far the average stays below joint training."""
    lost = runs.values("forgetting", FINETUNE)
    behind = runs.differences("average_accuracy", JOINT, FINETUNE)
    return [
        Check("forgetting of one after another is .05 or more", lost, 0.05),
        Check("accuracy learned together less one after another is .05 or more", behind, 0.05),
    ]


def relearning_cost(runs: Runs) -> list[Check]:
    """Examples processed by cumulative training over those of one joint training, against (T + 1) / 2."""

    def at(name: str, tasks: int) -> Settings:
        return {"technique": name, "data.tasks": tasks}

    counts, each = runs.options("data.tasks"), []
    for tasks in counts:
        times = runs.ratios("samples_processed", at("cumulative", tasks), at("joint", tasks))
        each.append([ratio / ((tasks + 1) / 2) for ratio in times])
    low, high = ([extreme(ratios) for ratios in zip(*each, strict=True)] for extreme in (min, max))
    behind = runs.differences("average_accuracy", at("joint", counts[-1]), at("cumulative", counts[-1]))
    return [
        Check("examples processed, as a share of (T + 1) / 2 joint trainings, are .99 or more at each T", low, 0.99),
        Check("and 1.01 or less", high, 1.01, least=False),
        Check("accuracy of joint training less that of learning everything again is .03 or less", behind, 0.03, False),
    ]


def model_per_task(runs: Runs) -> list[Check]:
    """Nothing lost, T networks stored, and what a joint network gains by what the tasks share."""
    alone, (tasks,) = {"technique": "independent"}, runs.options("data.tasks")
    stored = [ratio / tasks for ratio in runs.ratios("parameters", alone, JOINT)]
    return [
        Check("backward transfer is 0 or more", runs.values("backward_transfer", alone), 0.0),
        Check("parameters for each task, as a share of one network's, are 1 or more", stored, 1.0),
        Check(
            "accuracy of one joint network less that of one for each task is .03 or more",
            runs.differences("average_accuracy", JOINT, alone),
            0.03,
        ),
    ]


def accuracy_matrix(runs: Runs) -> list[Check]:
    """What is read off R."""
    return [
        Check("backward transfer is -.05 or less", runs.values("backward_transfer", FINETUNE), -0.05, least=False),
        Check("forward transfer is .05 or more", runs.values("forward_transfer", FINETUNE), 0.05),
    ]


def importance_extremes(runs: Runs) -> list[Check]:
    """The ends of the range of strengths against each other, and against the best one in between."""
    strengths = runs.options("lifelong.strength")
    free, rigid = ({"lifelong.strength": strength} for strength in (strengths[0], strengths[-1]))
    inner = [runs.by_seed("average_accuracy", {"lifelong.strength": strength}) for strength in strengths[1:-1]]
    ends = [runs.by_seed("average_accuracy", end) for end in (free, rigid)]
    gained = [a - b for a, b in zip(best_on_other_seeds(inner), best_on_other_seeds(ends), strict=True)]
    return [
        Check(
            "forgetting without a penalty less forgetting with the strongest is .1 or more",
            runs.differences("forgetting", free, rigid),
            0.1,
        ),
        Check(
            "accuracy on new tasks without a penalty less that with the strongest is .1 or more",
            runs.differences("learning_accuracy", free, rigid),
            0.1,
        ),
        Check(
            "average accuracy at the best strength in between less that at the better end is .02 or more", gained, 0.02
        ),
    ]


def selective_plasticity(runs: Runs) -> list[Check]:
    """Each way to find the importance, at its best strength, less the equal penalty at its own."""

    def best(technique: str) -> list[float]:
        own = runs.where({"technique": technique})
        strengths = own.options("lifelong.strength")
        return best_on_other_seeds([own.by_seed("average_accuracy", {"lifelong.strength": s}) for s in strengths])

    equal = best("l2")
    return [
        Check(
            f"accuracy of {name} less that of an equal penalty is .01 or more",
            [selective - other for selective, other in zip(best(name), equal, strict=True)],
            0.01,
        )
        for name in ("ewc", "si", "mas")
    ]


def gem(runs: Runs) -> list[Check]:
    """What is kept, and how far a corrected step still points against a memory.

    It would not at all, but for the ridge that makes the quadratic programme solvable where gradients are small.
    """
    return [
        Check(
            "accuracy of GEM less that of fine-tuning is .1 or more",
            runs.differences("average_accuracy", GEM, FINETUNE),
            0.1,
        ),
        Check(
            "the smallest cosine of a corrected gradient with that of a memory is -.1 or more",
            runs.values("lowest_cosine", GEM),
            -0.1,
        ),
    ]


def feedback(runs: Runs) -> list[Check]:
    """A model that learns in service beside one that does not, and beside one without a memory."""
    return [
        Check(
            "accuracy in service less that of a frozen model is .1 or more",
            runs.differences("online_accuracy", GEM, {"technique": "frozen"}),
            0.1,
        ),
        Check(
            "accuracy on the original data less that of fine-tuning is .1 or more",
            runs.differences("original_accuracy", GEM, FINETUNE),
            0.1,
        ),
    ]


def task_order(runs: Runs) -> list[Check]:
    """The orders that are best and worst on the other seeds, on this one."""
    orders = runs.options("data.order_seed")
    accuracies = [runs.by_seed("average_accuracy", {"data.order_seed": order}) for order in orders]
    differences = [
        a - b for a, b in zip(best_on_other_seeds(accuracies), best_on_other_seeds(accuracies, min), strict=True)
    ]
    return [
        Check(
            "accuracy in the order that is best on other seeds less that in the worst is .05 or more", differences, 0.05
        )
    ]


CLAIMS = [
    Claim(
        name="forgetting",
        english="Learning tasks one after another loses the earlier ones; learning them together does not.",
        chinese="依次学习各个任务会遗忘先前的任务,一起学习则不会。",
        quick=("experiment=forgetting",),
        full=(f"{MNIST} lifelong=finetune,joint",),
        decide=forgetting,
        figures=("comparison.png",),
    ),
    Claim(
        name="relearning_cost",
        english="Retraining on everything whenever a task comes works, at a cost that grows with the square of the "
        "number of tasks.",
        chinese="每来一个新任务就把全部数据重学一遍是有效的,但总训练量随任务数的平方增长。",
        quick=("experiment=relearning_cost seed=0,1,2",),
        full=("experiment=gem_permuted_mnist seed=0,1,2 lifelong=cumulative,joint data.tasks=5,10,20",),
        decide=relearning_cost,
        figures=("average_accuracy.png", "figures/task_seconds.png"),
    ),
    Claim(
        name="model_per_task",
        english="One model for each task forgets nothing, but stores as many models as there are tasks, and cannot "
        "share what the tasks have in common.",
        chinese="每个任务各用一个模型不会遗忘,但要存储与任务数一样多的模型,而且无法共享任务之间的共同知识。",
        quick=("experiment=model_per_task",),
        full=("experiment=model_per_task data=rotated_mnist data.test_per_task=1000",),
        decide=model_per_task,
        figures=("comparison.png",),
    ),
    Claim(
        name="accuracy_matrix",
        english="The matrix R shows forgetting below its diagonal and transfer above it.",
        chinese="精度矩阵R:对角线以下看遗忘,对角线以上看迁移。",
        quick=("experiment=accuracy_matrix",),
        full=(f"experiment=gem_rotated_mnist {FIVE} lifelong=finetune",),
        decide=accuracy_matrix,
        figures=("figures/accuracy_matrix.png",),
    ),
    Claim(
        name="importance_extremes",
        english="With importance 0 the model forgets, with a huge one it refuses to learn; in between it does best.",
        chinese="重要性权重b为0时模型会遗忘,b极大时学不会新任务,大小适中时最好。",
        quick=("experiment=importance_extremes",),
        full=("experiment=ewc_strength",),
        decide=importance_extremes,
        figures=("over_strength.png", "trade_off.png"),
    ),
    Claim(
        name="selective_plasticity",
        english="Protecting the weights that were important beats protecting all of them equally.",
        chinese="按重要性有选择地保护权重,优于对所有权重一视同仁。",
        quick=("experiment=selective_plasticity",),
        full=(f"{MNIST} lifelong=l2,ewc,si,mas",),
        decide=selective_plasticity,
        figures=("over_strength.png",),
    ),
    Claim(
        name="gem",
        english="Projecting the gradient so that no old task's loss rises keeps the old tasks.",
        chinese="让更新方向不与历史任务的梯度冲突,就能避免遗忘。",
        quick=("experiment=gem", "experiment=forgetting"),
        full=(f"{MNIST} lifelong=finetune,gem",),
        decide=gem,
        figures=("comparison.png",),
    ),
    Claim(
        name="feedback",
        english="A deployed model that learns from its users' feedback follows the drift; with a memory it keeps more "
        "of where it came from.",
        chinese="上线后的模型可以借助用户反馈持续更新、跟上变化;有了记忆,还能更好地保住原来的能力。",
        quick=("experiment=feedback",),
        full=("experiment=feedback data=feedback_mnist",),
        decide=feedback,
        figures=("online_accuracy.png", "figures/rounds.png"),
    ),
    Claim(
        name="task_order",
        english="The order of the tasks matters.",
        chinese="任务的先后顺序会影响学习结果。",
        quick=("experiment=task_order",),
        full=("experiment=task_order data=rotated_mnist data.train_per_task=1000 data.test_per_task=1000",),
        decide=task_order,
        figures=("average_accuracy.png",),
    ),
]
