"""Files of others: only regular files are opened, sizes and depths are bounded, nothing is built or resolved."""

import os
import socket

import pytest
import yaml
from omegaconf import OmegaConf

from mlbench.core.errors import UserError
from mlbench.core.input_files import MOST_YAML_BYTES, open_regular, read_bytes, read_json, read_yaml


def test_only_a_regular_file_is_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for path, what in {"fifo": "a FIFO", "socket": "a socket", ".": "a folder", "/dev/zero": "a device"}.items():
        with pytest.raises(UserError, match=f"is {what}, not a file"):
            open_regular(tmp_path / path)
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link", 3) == b"abc"
    with pytest.raises(UserError, match="more than 2 bytes"):
        read_bytes(tmp_path / "file", 2)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "valid JSON"),
        ("{", "valid JSON"),
        ("[" * 100_000, "too deep"),
        ("[" * 70 + "]" * 70, "64 levels"),
        ('{"a": ' * 70 + "1" + "}" * 70, "64 levels"),
        ('{"a": "\\ud800"}', "surrogates"),
        ('{"\\ud800": 1}', "surrogates"),
        ("1" + 400 * "0", "64 bits"),
        ("1" + 9000 * "0", "valid JSON"),
    ],
)
def test_json_that_breaks_readers_is_refused(tmp_path, text, reason):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=reason) as caught:
        read_json(tmp_path / "a.json")
    assert str(caught.value).startswith(str(tmp_path / "a.json"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("&a [*a]", "refers to itself"),
        ("a: &a [1]\nb: *a", "refers to itself"),
        ("!!python/object/apply:os.system [true]", "valid YAML"),
        ("!!python/object/apply:pathlib.Path [a]", "valid YAML"),
        ("!!set {a, b}", "of kind set"),
        ("!!binary aGFsbG8=", "of kind bytes"),
        ("1: a\nb: c", "no texts"),
        ("? [1, 2]\n: 3", "valid YAML"),
        ("[" * 5000, "valid YAML"),
        ("a: [" * 100, "valid YAML"),
        ("- " * 900 + "1", "64 levels"),
        ("a: \x00", "valid YAML"),
        (f"a: {MOST_YAML_BYTES * 'x'}", "more than"),
        ("\udcff", "not a text in UTF-8"),
    ],
)
def test_yaml_that_breaks_readers_is_refused(tmp_path, text, reason):
    (tmp_path / "a.yaml").write_text(text, errors="surrogateescape")
    with pytest.raises(UserError, match=reason) as caught:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)


def test_yaml_scalars_are_those_of_omegaconf_and_interpolations_stay_text(tmp_path):
    words = [
        "1e-05",
        "1e5",
        "5.e-3",
        ".5",
        "+.inf",
        "-1",
        "0x1F",
        "1_000",
        "2020-01-01",
        "yes",
        "on",
        "~",
        "null",
        "1.5",
        "1:30",
        "1:30.5",
        "0o7",
        "017",
        "-.inf",
    ]
    (tmp_path / "a.yaml").write_text("".join(f"k{n}: {word}\n" for n, word in enumerate(words)))
    assert read_yaml(tmp_path / "a.yaml") == OmegaConf.to_container(OmegaConf.load(tmp_path / "a.yaml"))
    (tmp_path / "b.yaml").write_text("a: ${oc.env:HOME}\nb: ${a}\n")
    assert read_yaml(tmp_path / "b.yaml") == {"a": "${oc.env:HOME}", "b": "${a}"}


def test_yaml_that_omegaconf_writes_is_read_as_it_was(tmp_path):
    values = {"a": [1, 2.5, None, True, "1", "1e-5", "2020-01-01", "\u00e4\U0001f600"], "b": {"c": {}, "d": []}}
    (tmp_path / "a.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(values)), encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml") == values
    assert yaml.safe_load("1e-5") == "1e-5"  # which is why there is a loader of our own


@pytest.mark.parametrize("text", ["a: 1" + ":1" * 500, "a: 1" + ":1" * 500 + ".5", "a: " + "9" * 500])
def test_a_number_of_hundreds_of_digits_is_refused_before_it_is_computed(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=r"a\.yaml is not valid YAML \(a number in it has \d+ digits\)"):
        read_yaml(tmp_path / "a.yaml")
