"""What is said of a `resume=` that is no folder of a run."""

import pytest
from omegaconf import OmegaConf

from mlbench.core.errors import UserError
from mlbench.experiment.resume import reopened
from mlbench.runs import layout


def test_what_is_in_the_place_of_the_folder_is_said(tmp_path):
    run = tmp_path / "a run"
    for name in (layout.CONFIG, f"{layout.HYDRA}/{layout.GROUP_NAMES}", "checkpoints/last.pt"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}")
    (tmp_path / "a.txt").touch()
    for place, told in (
        (tmp_path / "nowhere", "there is no such folder"),
        (tmp_path / "a.txt", "it is a file;"),
        (tmp_path, "there is no config.yaml"),
        (run / "checkpoints", "there is no config.yaml"),
        (run / "checkpoints" / "last.pt", f"it is a file of resume={run};"),
        (run / layout.CONFIG, f"it is a file of resume={run};"),
    ):
        with pytest.raises(UserError, match=f"^resume={place}: {told}"):
            reopened(place, OmegaConf.create({}), [])
