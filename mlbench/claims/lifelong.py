"""What the lecture on lifelong learning claims."""

from mlbench.claims.base import Check, Claim, Runs


def forgetting(runs: Runs) -> list[Check]:
    """How far the first task falls, and how far the average stays below joint training."""
    one_by_one = {"technique": "finetune"}
    lost = runs.values("forgetting", one_by_one)
    behind = runs.differences("average_accuracy", {"technique": "joint"}, one_by_one)
    return [
        Check("forgetting of one after another is .05 or more", lost, 0.05),
        Check("accuracy learned together less one after another is .05 or more", behind, 0.05),
    ]


CLAIMS = [
    Claim(
        name="forgetting",
        english="Learning tasks one after another loses the earlier ones; learning them together does not.",
        chinese="依次学习会遗忘旧任务,一起学习则不会。",
        quick=("experiment=forgetting",),
        full=("experiment=forgetting data=permuted_mnist data.train_per_task=1000 data.test_per_task=1000",),
        decide=forgetting,
        figures=("comparison.png",),
    ),
]
