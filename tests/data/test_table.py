"""Tables as data: a .csv against numbers by hand, scikit-learn's examples, and files that are none."""

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_wine

from mlbench.core.errors import SettingError, UserError
from mlbench.data.datasets.table import ExampleTable, Table
from mlbench.data.modality import Tables
from mlbench.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("undrawn")  # nobody looks at the figures

ROWS = "id,height,weight,kind\n" + "".join(
    f"{n},{n % 7},{n * 0.5 + 10 * (n > 9)},{'big' if n > 9 else 'small'}\n" for n in range(20)
)


def table(folder, text, **settings):
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return Table(path=str(folder / "t.csv"), **{"target": "kind", **settings})


def loaded(folder, text, **settings):
    return table(folder, text, **settings).load(folder)


def test_a_csv_becomes_features_and_classes_by_name(tmp_path):
    arrays = loaded(tmp_path, ROWS, ignore=["id"], test_share=0.2)
    assert arrays.modality == Tables(("height", "weight"))
    assert arrays.classes == ["big", "small"]
    assert (arrays.x_train.shape, arrays.x_test.shape) == ((16, 2), (4, 2))
    assert arrays.y_train.bincount().tolist() == [8, 8]  # stratified
    assert arrays.y_test.bincount().tolist() == [2, 2]
    rows = torch.cat([arrays.x_train, arrays.x_test])
    labels = torch.cat([arrays.y_train, arrays.y_test])
    assert torch.equal(rows[:, 1] > 4.5, labels == 0)
    again = loaded(tmp_path, ROWS, ignore=["id"], test_share=0.2)
    assert torch.equal(arrays.x_test, again.x_test)


def test_features_are_standardised_by_the_training_rows_and_constant_ones_keep_their_size(tmp_path):
    text = "a,b,kind\n" + "".join(f"{n},7,{n % 2}\n" for n in range(40))
    source = table(tmp_path, text)
    task = source.stream(tmp_path, torch.Generator().manual_seed(0)).tasks[0]
    x, raw = task.train.batch(task.train.places).x, task.train.raw(task.train.places).double().numpy()
    np.testing.assert_allclose(x[:, 0].numpy(), (raw[:, 0] - raw[:, 0].mean()) / raw[:, 0].std(), rtol=1e-5, atol=1e-6)
    assert x[:, 1].abs().max() == 0
    plain = table(tmp_path, text, normalise="none").stream(tmp_path, torch.Generator().manual_seed(0)).tasks[0]
    assert torch.equal(plain.train.batch(plain.train.places).x, plain.train.raw(plain.train.places))


def test_classes_that_are_numbers_stand_in_their_order(tmp_path):
    text = "a,kind\n" + "".join(f"{n},{(10, 9, 2)[n % 3]}\n" for n in range(30))
    assert loaded(tmp_path, text).classes == ["2", "9", "10"]


@pytest.mark.parametrize(("name", "load"), [("wine", load_wine), ("breast_cancer", load_breast_cancer)])
def test_the_examples_are_scikit_learns_own(tmp_path, name, load):
    arrays, theirs = ExampleTable(name=name).load(tmp_path), load()
    ours = torch.cat([arrays.x_train, arrays.x_test]).numpy()
    np.testing.assert_allclose(np.sort(ours, 0), np.sort(theirs.data.astype(np.float32), 0))
    assert arrays.modality.features == tuple(theirs.feature_names)
    assert arrays.classes == list(theirs.target_names)


@pytest.mark.parametrize(
    ("text", "settings", "parts"),
    [
        ("", {}, ["name every column"]),
        ("a,kind\n", {}, ["no rows"]),
        ("a,a,kind\n1,2,x\n", {}, ["each once"]),
        ("a,kind\n1,x\n2\n", {}, ["line 3", "1 cells", "2 columns"]),
        ("a,kind\n1,x\n,y\n", {}, ["line 3", "a is ''", "a number"]),
        ("a,kind\n1,x\nnan,y\n", {}, ["line 3", "a is 'nan'"]),
        ("a,kind\n1,x\n-inf,y\n", {}, ["line 3", "a is '-inf'"]),
        ("a,kind\n1,x\n1e39,y\n", {}, ["line 3", "a is '1e39'"]),
        ("colour,kind\nred,x\n", {}, ["line 2", "colour is 'red'", "data.ignore=[colour]"]),
        ("a,kind\n1,x\n2,x\n", {}, ["the one class x"]),
        ("a,kind\n1,x\n2,x\n3,y\n", {}, ["class y of kind has one row"]),
        ("a,kind\n" + "".join(f"{n},{n / 7}\n" for n in range(9)), {}, ["a column of measurements is no class"]),
        (ROWS, {"target": "kin"}, ["data.target=kin", "did you mean 'kind'"]),
        (ROWS, {"ignore": ["idd"]}, ["data.ignore=idd", "did you mean 'id'"]),
        ("kind\nx\ny\n", {}, ["no column of numbers"]),
        ("a,kind\n1,\n2,x\n", {}, ["no class in kind"]),
        ('a,kind\n1,"x\n', {}, ["not a readable .csv"]),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(tmp_path, text, settings, parts):
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, text, **settings)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert len(str(caught.value).splitlines()) <= 2


def test_shares_that_leave_a_class_without_rows_are_refused(tmp_path):
    with pytest.raises(SettingError, match="test_share"):
        Table(path="t.csv", target="kind", test_share=1.0)
    with pytest.raises(SettingError, match="a share that leaves rows of every class"):
        loaded(tmp_path, ROWS, test_share=0.01)
    rare = "a,kind\n" + "".join(f"{n},{'rare' if n < 2 else n % 2}\n" for n in range(40))
    with pytest.raises(SettingError, match=r"test_share=0.1: .*every class \(no row for testing of rare\)"):
        loaded(tmp_path, rare, test_share=0.1)


def test_a_missing_file_and_one_that_is_no_text(mlbench, tmp_path):
    code, _, error = mlbench("data=table", f"data.path={tmp_path / 'none.csv'}", "data.target=x")
    assert (code, "does not exist" in error) == (2, True)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x01")
    code, _, error = mlbench("data=table", f"data.path={tmp_path / 'bytes.csv'}", "data.target=x")
    assert (code, "not a readable .csv" in error) == (2, True)
    code, _, error = mlbench("data=table", "data.target=x")
    assert (code, "data.path has no value yet" in error) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_run_on_a_users_table_and_the_network_it_leaves(mlbench, tmp_path):
    (tmp_path / "t.csv").write_text(ROWS)
    words = (f"data.path={tmp_path / 't.csv'}", "data.target=kind", "data.ignore=[id]", "train.epochs=30", "threads=1")
    code, _, error = mlbench("data=table", *words)
    assert code == 0, error
    (summary,) = (tmp_path / "out").rglob("summary.json")
    assert json.loads(summary.read_text())["metrics"]["accuracy"] == 1.0
    net = load(summary.parent)
    logits = net(torch.tensor([[3.0, 0.5], [3.0, 19.0]]))  # raw numbers: small, big
    assert logits.argmax(1).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["data=wine", "model=cnn"], "rows of a table need a dense network"),
        (["data=wine", "train.augment=shift"], "changes pictures, and this data is tables"),
        (["lifelong=generative_replay", "data=split_wine"], "lifelong=generative_replay is made for pictures"),
        (["data=wine", "model=bert"], "takes texts"),
    ],
)
def test_what_makes_no_sense_for_tables_is_refused(mlbench, tmp_path, words, part):
    code, _, error = mlbench(*words)
    assert (code, part in error) == (2, True), error
    assert len(error.strip().splitlines()) <= 2
    assert not (tmp_path / "out").exists()


def test_tables_are_learned_class_by_class(mlbench, tmp_path):
    code, _, error = mlbench("lifelong=er", "data=split_wine", "train.epochs=3", "threads=1")
    assert code == 0, error
    (matrix,) = (tmp_path / "out").rglob("accuracy_matrix.csv")
    rows = [[float(cell) for cell in line.split(",")[1:]] for line in matrix.read_text().splitlines()[1:]]
    assert np.array(rows).shape == (4, 3)
    assert np.mean(rows[-1]) > 0.8


def test_drift_and_permutation_change_pictures_alone(mlbench, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "data").mkdir()
    text = "defaults:\n  - stream/permuted@_here_\n  - /data@source: wine\n  - _self_\ntasks: 2\n"
    (tmp_path / "own" / "data" / "permuted_wine.yaml").write_text(f"# Permuted wine\n{text}")
    code, _, error = mlbench("--config-dir", str(tmp_path / "own"), "lifelong=ewc", "data=permuted_wine")
    assert (code, "change pictures, and this data is tables" in error) == (2, True), error
