"""What the lecture on interpretability claims."""

from mlbench.claims.base import Claim

CLAIMS: list[Claim] = []
