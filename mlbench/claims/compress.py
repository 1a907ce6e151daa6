"""What the lecture on network compression claims."""

from mlbench.claims.base import Claim

CLAIMS: list[Claim] = []
