"""What each kind of example answers, against numbers by hand; and that no technique is asked for another kind."""

from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from mlbench.core.buildable import locate
from mlbench.core.config_groups import FAMILIES, conf_folder, entries
from mlbench.core.errors import UserError
from mlbench.data.modality import EVERY, PAD, Pictures, Spectrograms, Tables, Tokens
from mlbench.data.normalisation import Normalise
from mlbench.data.split import Pool, Split
from mlbench.experiment.technique import Technique, check_modality

MEL = SimpleNamespace(silence=-10.0)
TOKENS = Tokens(["[PAD]", "[CLS]", "a", "##b"], [0, 1], 3, 1)
TABLES = Tables(("height", "weight"))
KINDS = [Pictures(), Spectrograms(MEL, 2.0), TOKENS, TABLES]


def test_every_kind_is_there_and_has_a_name_of_its_own():
    assert tuple(map(type, KINDS)) == EVERY
    assert len({kind.name for kind in KINDS}) == len(EVERY)


def test_black_is_what_an_input_of_nothing_becomes():
    normalise = Normalise(torch.tensor([10.0, 20.0, 30.0]), torch.tensor([2.0, 4.0, 5.0]))
    black = Pictures().black(normalise)
    assert torch.equal(black, normalise(torch.zeros(1, 3, 1, 1)))
    silence = Spectrograms(MEL, 2.0).black(Normalise(torch.tensor([1.0]), torch.tensor([2.0])))
    assert silence.flatten().tolist() == [-5.5]
    rows = Normalise(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 4.0]]))
    assert TABLES.black(rows).shape == (1, 1, 1, 2)
    assert TABLES.black(rows).flatten().tolist() == [-0.5, -0.5]


def test_values_are_drawn_between_the_smallest_and_the_largest():
    assert Pictures().images(torch.tensor([-3.0, 0.0, 100.4, 255.0, 300.0])).tolist() == [0, 0, 100, 255, 255]
    assert Spectrograms(MEL, 2.0).images(torch.tensor([-10.0, -4.0, 2.0])).tolist() == [0, 128, 255]


def test_parts_have_the_names_of_rows_and_columns_or_features():
    names = Pictures().part_names((3, 1, 2))
    assert names[:2] == ["row 0, column 0, red", "row 0, column 1, red"]
    assert len(names) == 6
    assert TABLES.part_names((2,)) == ["height", "weight"]


def split_of(examples, modality, lengths=None):
    rows = torch.tensor([2, 0])
    return Split(Pool(examples, modality, lengths), rows, torch.zeros(2, dtype=torch.int64), 0, nn.Identity())


def test_positions_that_are_padding_are_not_present():
    ids = torch.tensor([[1, 2, PAD, PAD], [1, 2, 2, 2], [1, PAD, PAD, PAD]], dtype=torch.int32)
    there = split_of(ids, TOKENS).present(torch.tensor([0, 1]), 3)
    assert there.tolist() == [[True, False, False], [True, True, False]]
    sounds = split_of(torch.zeros(3, 1, 2, 4), Spectrograms(MEL, 1.0), torch.tensor([4, 1, 2]))
    assert sounds.present(torch.tensor([0, 1]), 4).tolist() == [[True, True, False, False], [True] * 4]
    assert split_of(torch.zeros(3, 1, 2, 4), Pictures()).present(torch.tensor([0]), 2).all()


def test_vocabularies_have_fingerprints():
    other = Tokens(["[PAD]", "[CLS]", "a", "b"], [0, 1], 3, 1)
    assert TOKENS.fingerprint != other.fingerprint
    assert TABLES.fingerprint is None


def test_examples_to_try_a_network_on():
    assert TOKENS.example((5,), 2).tolist() == [[3] * 5] * 2
    assert TABLES.example((2,), 3).shape == (3, 2)


def test_transformed_pictures_keep_their_kind():
    split = split_of(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), Pictures())
    split.transform = lambda pictures, task: pictures + 1
    assert split.with_transform_applied().pool.modality == Pictures()


TECHNIQUES = [(family, name) for family in FAMILIES for name in entries(family)]


@pytest.mark.parametrize("modality", KINDS, ids=[kind.name for kind in KINDS])
def test_every_technique_takes_a_kind_or_is_refused_with_those_that_do(modality):
    for family, name in TECHNIQUES:
        cls = locate(OmegaConf.load(conf_folder() / family / f"{name}.yaml")._target_, Technique, family, ())
        if not isinstance(cls.modalities, tuple):  # of a chain, that of its stages
            continue
        technique = SimpleNamespace(modalities=cls.modalities)
        if type(modality) in cls.modalities:
            check_modality(technique, f"{family}={name}", modality)
        else:
            with pytest.raises(
                UserError, match=f"{family}={name} is made for .*; for {modality.name} there are"
            ) as caught:
                check_modality(technique, f"{family}={name}", modality)
            assert f" {name}," not in str(caught.value).partition(" there are")[2]
