"""From files and texts to what networks take: the same numbers as in the data that they were trained on."""

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from mlbench.core.errors import UserError
from mlbench.data.datasets.spoken_digits import SpokenDigits
from mlbench.data.example_reader import SoundReader, TextReader, reader_of
from tests.data.test_text import grammar


@pytest.fixture
def recordings(tmp_path):
    """Two digits by two speakers, each in a file of its own."""
    (tmp_path / "recordings").mkdir()
    draws = np.random.default_rng(0)
    for digit in (0, 1):
        for speaker in ("ann", "bob"):
            for index in (0, 7):
                wave = (draws.normal(size=800 + 400 * digit) * 2000).astype(np.int16)
                wavfile.write(tmp_path / "recordings" / f"{digit}_{speaker}_{index}.wav", 8000, wave)
    return tmp_path / "recordings"


def read_back(task):
    about = task.modality.reader
    return reader_of(tuple(task.test.pool.examples.shape[1:]), task.modality.continuous, 1.0, about)


def test_a_file_of_a_sound_is_read_as_in_the_data(recordings):
    task = SpokenDigits(str(recordings.parent), "shared", 20).stream(recordings, torch.Generator()).tasks[0]
    reader = read_back(task)
    assert isinstance(reader, SoundReader)
    files = [path for _, path in reader.named([str(recordings)]) if path.stem.endswith("_0")]
    found = torch.cat([reader.read(path) for path in files])
    torch.testing.assert_close(found, task.test.raw(task.test.places))
    wave = np.sin(np.arange(3000))
    assert reader.read(wave).shape == (1, 1, 40, 20)
    for wrong in (np.zeros((2, 3)), np.zeros(0)):
        with pytest.raises(UserError, match="a sound is a wave"):
            reader.read(wrong)
    with pytest.raises(UserError, match="does not exist"):
        reader.named([str(recordings / "none.wav")])


def test_a_text_is_read_as_in_the_data(tmp_path):
    task = grammar().tasks[0]
    reader = read_back(task)
    assert isinstance(reader, TextReader)
    row = task.test.raw(torch.tensor([3]))[0]
    pieces = [task.modality.vocabulary[number] for number in row.tolist() if number not in task.modality.special]
    text = " ".join(pieces).replace(" ##", "")
    assert reader.read(text)[0].equal(row)
    (tmp_path / "texts.txt").write_text(f"{text}\n\n{text} again\n")
    assert [example for _, example in reader.named(["one text", str(tmp_path / "texts.txt")])] == [
        "one text",
        text,
        f"{text} again",
    ]
    assert reader.read("word " * 100).shape == (1, len(row))
    for wrong in ("", " ", 3):
        with pytest.raises(UserError, match="a text"):
            reader.read(wrong)


@pytest.mark.parametrize("about", [{}, {"kind": "sound"}, {"kind": "text", "tokenizer": "{}"}, {"kind": "smell"}])
def test_a_checkpoint_that_does_not_say_how_is_refused(about):
    with pytest.raises(UserError, match="does not say how examples are read"):
        reader_of((8,), False, 1.0, about)


def test_sounds_and_texts_are_predicted(mlbench, tmp_path, recordings):
    """The answers are those of the network to the examples of the data; artefacts do not carry the tokenizer."""
    few = ("train.epochs=0", "threads=1")
    code, _, error = mlbench(
        "data=spoken_digits", f"data.path={recordings.parent}", "data.frames=20", "model=speech", *few
    )
    assert code == 0, error
    (run,) = (tmp_path / "out").glob("plain/*/*")
    code, out, error = mlbench("predict", str(run), str(recordings), "--csv", str(tmp_path / "a.csv"), out=False)
    assert code == 0, error
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 8 * 2
    sizes = ("data.train_sentences=20", "data.validation_sentences=20", "data.test_sentences=20", "model.width=16")
    code, _, error = mlbench("data=grammar", "model=bert", "model.pretrain_epochs=0", *sizes, *few)
    assert code == 0, error
    run = next(path for path in (tmp_path / "out").glob("plain/*/*") if "grammar" in str(path))
    code, out, error = mlbench("predict", str(run), "a text", "--top", "1", out=False)
    assert code == 0, error
    assert out.startswith("a text: ")
    code, _, error = mlbench("predict", str(run), "", out=False)
    assert (code, error.splitlines()[-1]) == (2, "mlbench: a text needs a word at least")
