"""What the accuracy matrix R says (Lopez-Paz & Ranzato 2017, section 2; Chaudhry et al. 2018 for forgetting and
intransigence).

R[i][j] is the test accuracy on task j after learning i tasks, row 0 before any training; with T tasks R has T + 1 rows,
columns count from 0 here. A metric that its rows do not define is left out.
"""

from statistics import fmean

Matrix = list[list[float] | None]
HEADLINES = {  # what tables show, and the good end
    "average_accuracy": "high",
    "backward_transfer": "high",
    "forward_transfer": "high",
    "forgetting": "low",
    "intransigence": "low",
}


def scores(matrix: Matrix, forward: bool = True) -> dict[str, float]:
    """All metrics that R defines; `forward` False leaves out forward transfer (in the class scenario the outputs of
    tasks not met do not compete, so that there is nothing to transfer to)."""
    tasks = len(matrix) - 1
    final = matrix[tasks]
    found = {"average_accuracy": fmean(final)}
    if any(row is None for row in matrix):
        return found
    learned = [matrix[i + 1][i] for i in range(tasks)]  # accuracy on a task just after learning it
    found["learning_accuracy"] = fmean(learned)
    if tasks > 1:
        earlier = range(tasks - 1)
        found["backward_transfer"] = fmean(final[i] - learned[i] for i in earlier)
        found["forgetting"] = fmean(max(matrix[i][j] for i in range(1, tasks)) - final[j] for j in earlier)
        if forward:
            found["forward_transfer"] = fmean(matrix[j][j] - matrix[0][j] for j in range(1, tasks))
    return found


def against(matrix: Matrix, joint: list[float]) -> dict[str, float]:
    """The same network's accuracies `joint` on each task after it learned all of them at once, and the intransigence:
    how far learning a task falls short of that, on average; positive where tasks could not be learned."""
    found = {"joint_accuracy": fmean(joint)}
    if all(row is not None for row in matrix):
        found["intransigence"] = fmean(best - matrix[i + 1][i] for i, best in enumerate(joint))
    return found
