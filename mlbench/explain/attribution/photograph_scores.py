"""The scores of maps that need large pictures and no labels: grid pointing and symmetric relevance gain."""

import torch
from torch import Tensor

from mlbench.explain.attribution.examples import View
from mlbench.explain.attribution.grid_pointing import can_be_played, draw_grids, of_classes, play
from mlbench.explain.attribution.relevance_gain import centre, differences, is_measured, relevance_gains
from mlbench.explain.base import Attribution, Maps
from mlbench.runs.results import Results

WRONG_CLASS = "wrong_class"  # the control of this name, made by the method itself


class PhotographScores:
    """The scores of a method and of each control, one after the other; none where the pictures are too small.

    Args:
        method: The explanation.
        name: Its name in tables.
        view: The pictures.
        generator: Draws the grids.
    """

    def __init__(self, method: Attribution, name: str, view: View, generator: torch.Generator):
        self.method, self.name = method, name
        self.examples, self.grids = view.examples[0], None
        self.in_regions = view.in_grids and is_measured(self.examples.x)
        if view.in_grids and can_be_played(self.examples.x, self.examples.target):
            self.grids = draw_grids(self.examples.target, generator)
        self.games: list[dict[str, object]] = []
        self.gains: dict[str, Tensor] = {}

    def of(self, title: str, maker: Maps, maps: Tensor) -> dict[str, float]:
        """The scores of the method or a control, which `maker` computes, and whose maps are [B, C, H, W]."""
        examples, amounts, scores = self.examples, self.method.amounts, {}
        about = (examples.net, examples.x, examples.target)
        if self.grids is not None and title != WRONG_CLASS:  # whose score is the column `neighbour`
            many = self.method.class_maps if title == self.name else of_classes(maker)
            game = play(*about, self.grids, many, amounts or title != self.name)
            self.games += [{"map": title, "grid": number, **row} for number, row in enumerate(game, start=1)]
            scores["grid_pointing"] = sum(row["pointing"] for row in game) / len(game)
        if self.in_regions:
            self.gains[title] = relevance_gains(*about, maps, amounts or title not in (self.name, WRONG_CLASS))
            scores["relevance_gain"] = self.gains[title].mean().item()
        return scores

    def finish(self, results: Results, table: list[dict[str, object]]) -> None:
        """Add the control that only these scores have to `table`, and the tables of grids and differences."""
        if self.in_regions:
            examples = self.examples
            blob = centre(examples.x)
            self.gains["centre"] = relevance_gains(examples.net, examples.x, examples.target, blob, signed=True)
            value = self.gains["centre"].mean().item()
            results.metrics["control_centre_relevance_gain"] = value
            table.append({"map": "centre", "examples": len(examples), "relevance_gain": value})
            results.tables["relevance_gain"] = differences(self.gains, self.name)
        if self.games:
            results.tables["grids"] = self.games
