"""Utterances as data: lengths, splits, properties, files that are none; the network that hears them."""

from wave import open as open_wave

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from mlbench.core.errors import SettingError, UserError
from mlbench.data.audio import Utterance, stream
from mlbench.data.datasets.spoken_digits import SpokenDigits
from mlbench.data.datasets.tones import VOICES, Tones, utter
from mlbench.data.mel_spectrogram import LogMel
from mlbench.data.wave_files import full_scale, read_wave
from mlbench.explain.representation.activations import activations
from mlbench.models.speech import Speech


def generator():
    return torch.Generator().manual_seed(0)


def utterance(digit, speaker, count=1600):
    wave = 0.3 * torch.sin(2 * torch.pi * (300 + 200 * digit) * torch.arange(count) / 8000)
    return Utterance(wave, digit, speaker)


def record(folder, digit, speaker, index, rate=8000, dtype=np.int16, shape=(1600,)):
    recordings = folder / "recordings"
    recordings.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(index)
    wavfile.write(recordings / f"{digit}_{speaker}_{index}.wav", rate, draws.integers(-90, 90, shape).astype(dtype))


def cut(folder, end):
    path = folder / "recordings" / "0_ann_3.wav"
    path.write_bytes(path.read_bytes()[:end])


def spoil(folder, place, value):
    path = folder / "recordings" / "0_ann_3.wav"
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(content)


TONE = 0.9 * np.sin(np.arange(80))
NO_NUMBERS = (np.nan, np.inf, -np.inf, 1e300)  # the last is none in single precision


def write(folder, samples):
    wavfile.write(folder / "recordings" / "0_ann_3.wav", 8000, samples)


def spoken(folder, bad):
    write(folder, np.where(np.arange(80) == 7, bad, TONE))


@pytest.fixture
def recordings(tmp_path):
    for digit in (0, 7):
        for speaker in ("ann", "bob", "cy"):
            for index in (3, 4, 5, 12):
                record(tmp_path, digit, speaker, index)
    return tmp_path


def test_silence_pads_and_long_ones_are_cut():
    train = [utterance(0, "a", 800), utterance(1, "b", 4000)]
    task = stream(train, train, LogMel(), 30).tasks[0]
    assert task.train.pool.lengths.tolist() == [11, 30]
    table = task.train.pool.examples
    assert table.shape == (2, 1, 40, 30)
    assert (table[0, 0, :, 11:] == LogMel().silence).all()
    torch.testing.assert_close(table[0, 0, :, :11], LogMel()(train[0].wave))
    heard = torch.cat([table[0, 0, :, :11].flatten(), table[1].flatten()])  # what pads is not normalised by
    torch.testing.assert_close(task.train.normalise.mean.flatten(), heard.mean()[None])
    torch.testing.assert_close(task.train.normalise.std.flatten(), heard.std()[None])


def test_the_first_five_of_each_digit_and_speaker_are_the_test_set(recordings):
    data = SpokenDigits(str(recordings), "shared", 20).stream(recordings, generator())
    task = data.tasks[0]
    assert (len(task.train), len(task.test)) == (12, 12)  # indices 5 and 12 of two digits and three speakers
    assert data.classes == ["0", "7"]
    assert task.properties.values == {"digit": ["0", "7"], "speaker": ["ann", "bob", "cy"]}
    assert torch.equal(task.test.labels, task.properties.test.labels["digit"])
    assert task.properties.train.labels["speaker"].tolist() == [0, 0, 1, 1, 2, 2] * 2


def test_files_keep_what_their_names_say(recordings):
    task = SpokenDigits(str(recordings), "shared", 20).stream(recordings, generator()).tasks[0]
    rate, wave = wavfile.read(recordings / "recordings" / "7_bob_12.wav")
    wave = torch.from_numpy(wave.astype(np.float32))
    expected = LogMel()(0.05 * wave / wave.square().mean().sqrt())[:, :20]
    known = task.properties.train.labels
    rows = ((known["digit"] == 1) & (known["speaker"] == 1)).nonzero().flatten()
    found = task.train.pool.examples[rows, 0, :, : expected.shape[1]]
    same = [torch.allclose(each, expected, atol=1e-3) for each in found]
    assert rate == 8000
    assert same.count(True) == 1


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_whole_numbers_of_every_depth_are_one_sound(tmp_path, bits):
    values = np.round(TONE * 2 ** (bits - 1)).astype(np.int64) + (128 if bits == 8 else 0)
    with open_wave(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, bits // 8, 8000, 80, "NONE", ""))
        file.writeframes(values.astype("<i8").view(np.uint8).reshape(80, 8)[:, : bits // 8].tobytes())
    samples = full_scale(wavfile.read(tmp_path / "a.wav")[1]).numpy()
    np.testing.assert_allclose(samples, TONE, atol=2.0 ** -min(bits, 22))
    expected = 0.05 * TONE / np.sqrt(np.mean(TONE**2))
    np.testing.assert_allclose(
        read_wave(tmp_path / "a.wav", 8000, 0.05).numpy(), expected, atol=2.0 ** -(min(bits, 20) + 2)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_taken_as_they_are(tmp_path, dtype):
    wavfile.write(tmp_path / "a.wav", 8000, TONE.astype(dtype))
    np.testing.assert_allclose(full_scale(wavfile.read(tmp_path / "a.wav")[1]).numpy(), TONE, rtol=1e-6)


def test_nothing_is_learned_from_disjoint_speakers(recordings):
    task = SpokenDigits(str(recordings), "disjoint", 20).stream(recordings, generator()).tasks[0]
    learned, tested = (set(part.labels["speaker"].tolist()) for part in (task.properties.train, task.properties.test))
    assert (len(learned), len(tested)) == (2, 1)
    assert not learned & tested
    other = {
        tuple(
            SpokenDigits(str(recordings), "disjoint", 20)
            .stream(recordings, draws)
            .tasks[0]
            .properties.test.labels["speaker"]
            .unique()
            .tolist()
        )
        for draws in (torch.Generator().manual_seed(seed) for seed in range(8))
    }
    assert len(other) > 1  # the seed draws them


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: record(folder, 1, "ann", 1, rate=16000), "16000 samples a second; needed are 8000"),
        (lambda folder: record(folder, 1, "ann", 1, shape=(1600, 2)), "one channel"),
        *((lambda folder, bad=bad: spoken(folder, bad), "3.wav: 1 of 80 samples are not finite") for bad in NO_NUMBERS),
        (lambda folder: write(folder, np.zeros(80, np.int16)), "0_ann_3.wav holds no sound: all samples are 0"),
        (lambda folder: write(folder, np.full(80, 128, np.uint8)), "0_ann_3.wav holds no sound: all samples are 128"),
        (lambda folder: write(folder, np.full(80, 0.5)), "0_ann_3.wav holds no sound: all samples are 0.5"),
        (lambda folder: write(folder, np.zeros(0, np.int16)), "0_ann_3.wav"),
        *((lambda folder, by=by: write(folder, by * TONE), "0_ann_3.wav has a loudness of") for by in (1e-20, 1e20)),
        (
            lambda folder: (folder / "recordings" / "1_ann_1.wav").write_bytes(b"RIFFnothing"),
            "1_ann_1.wav cannot be read",
        ),
        *((lambda folder, at=at: spoil(folder, *at), "0_ann_3.wav cannot be read") for at in ((16, 255), (22, 0))),
        *((lambda folder, n=n: cut(folder, n), "0_ann_3.wav cannot be read") for n in (0, 4, 20, 30, -100, -101)),
        (lambda folder: [path.unlink() for path in (folder / "recordings").iterdir()], "holds no"),
        (lambda folder: (folder / "recordings").rename(folder / "gone"), "is not there"),
        (lambda folder: [path.unlink() for path in folder.glob("recordings/7_*")], "1 digits and 3 speakers"),
        (
            lambda folder: [path.unlink() for path in folder.glob("recordings/*_[34].wav")],
            "12 utterances to learn from and 0",
        ),
    ],
)
def test_files_that_are_none_are_named(recordings, change, message):
    change(recordings)
    with pytest.raises(UserError, match=message):
        SpokenDigits(str(recordings), "shared", 20).stream(recordings, generator())


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(SettingError, match="frames"):
        SpokenDigits(None, "shared", 3)
    with pytest.raises(SettingError, match="test_each"):
        Tones(1, 0, 20)


def test_tones_are_the_same_at_the_same_seed():
    first, again = (Tones(1, 1, 40).stream(None, generator()).tasks[0].train.pool.examples for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (10 * len(VOICES), 1, 40, 40)


def test_a_voice_is_its_pitch_and_a_digit_its_formants():
    deep, high = (utter(3, pitch, 8000, generator()) for pitch in (100.0, 250.0))
    peaks = []
    for wave, longest in ((deep, 120), (high, 60)):  # below two periods
        sums = torch.fft.irfft(torch.fft.rfft(wave, 2 * len(wave)).abs().square())  # autocorrelation
        peaks.append(8000 / (20 + int(sums[20:longest].argmax())))
    assert peaks[0] == pytest.approx(100, rel=0.08)
    assert peaks[1] == pytest.approx(250, rel=0.08)
    one, two = (LogMel()(utter(digit, 100.0, 8000, generator()))[:, 2:8].mean(1) for digit in (0, 9))
    assert (one - two).abs().max() > 2  # formants far apart


def test_the_layers_of_the_network_keep_the_frames():
    net = Speech((1, 40, 30), 5, channels=4, hidden=6, dropout=0.0).eval()
    task = Tones(1, 1, 30).stream(None, generator()).tasks[0]
    assert net(torch.zeros(2, 1, 40, 30)).shape == (2, 5)
    found = activations(net, task.test, list(net.layers))
    assert [tuple(each.shape[1:]) for each in found.values()] == [(30, 80), (30, 40), (30, 12), (30, 12)]
    x = task.test.batch(torch.arange(2)).x
    by_hand = net.conv1.convolution(x.transpose(2, 3))  # [B, C, frames, bands]
    by_hand = torch.nn.functional.max_pool2d(net.conv1.norm(by_hand).relu(), (1, 2))
    torch.testing.assert_close(found["conv1"][:2], by_hand.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("shape", [(3, 40, 30), (1, 2, 30), (30,)])
def test_what_is_no_spectrogram_is_refused(shape):
    with pytest.raises(ValueError, match="spectrograms"):
        Speech(shape, 5, 4, 6, 0.0)
