"""Metrics of the accuracy matrix R (Lopez-Paz & Ranzato 2017, section 2; Chaudhry et al. 2018 for forgetting and
intransigence).

R[i][j] is the test accuracy on task j after learning i tasks, row 0 before any training; with T tasks R has T + 1 rows,
columns are counted from 0 here. A metric whose rows are missing is left out.
"""

from statistics import fmean

Matrix = list[list[float] | None]
HEADLINES = {  # metrics shown in tables, and whether high or low is good
    "average_accuracy": "high",
    "backward_transfer": "high",
    "forward_transfer": "high",
    "forgetting": "low",
    "intransigence": "low",
    "joint_gap": "low",
}


def scores(matrix: Matrix, forward: bool = True) -> dict[str, float]:
    """Compute all metrics that R defines.

    Args:
        matrix: R, with None for rows that were not measured; the last row is needed.
        forward: Whether forward transfer is defined. In the class scenario it is not: the outputs of tasks not yet
            learned do not compete.

    Returns:
        The metrics by name; accuracies as fractions.
    """
    tasks = len(matrix) - 1
    final = matrix[tasks]
    values = {"average_accuracy": fmean(final)}
    if any(row is None for row in matrix):
        return values
    learned = [matrix[i + 1][i] for i in range(tasks)]  # accuracy on a task just after learning it
    values["learning_accuracy"] = fmean(learned)
    if tasks > 1:
        earlier = range(tasks - 1)
        values["backward_transfer"] = fmean(final[i] - learned[i] for i in earlier)
        values["forgetting"] = fmean(max(matrix[i][j] for i in range(1, tasks)) - final[j] for j in earlier)
        if forward:
            values["forward_transfer"] = fmean(matrix[j][j] - matrix[0][j] for j in range(1, tasks))
    return values


def compared_with_joint(matrix: Matrix, joint: list[float]) -> dict[str, float]:
    """Compare with one network that has learned all tasks together.

    Args:
        matrix: R.
        joint: The accuracy of joint training on each task.

    Returns:
        `joint_accuracy` and, where R has all rows, `joint_gap`: how far the accuracy on a task just learned falls short
        of that of joint training, on average. It is a cheap stand-in for intransigence. In the class scenario fewer
        classes compete just after a task than in the joint network.
    """
    values = {"joint_accuracy": fmean(joint)}
    if all(row is not None for row in matrix):
        values["joint_gap"] = shortfall(matrix, joint)
    return values


def compared_with_cumulative(matrix: Matrix, references: list[float]) -> dict[str, float]:
    """Intransigence (Chaudhry et al. 2018, eq. 3), averaged over the tasks; positive where tasks were not learned.

    Args:
        matrix: R, with all rows.
        references: For each task k the accuracy on it of a network trained on tasks 1 to k together.

    Returns:
        `intransigence`: how far the accuracy on a task just learned falls short of its reference, on average.
    """
    return {"intransigence": shortfall(matrix, references)}


def shortfall(matrix: Matrix, references: list[float]) -> float:
    """The mean over tasks of the reference less the accuracy just after learning the task."""
    return fmean(best - matrix[i + 1][i] for i, best in enumerate(references))
