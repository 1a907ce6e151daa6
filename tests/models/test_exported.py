"""Networks in ONNX and of torch.export as fixed functions: the same outputs, gradients where there are, nothing run."""

import copy
import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mlbench.core.errors import UserError
from mlbench.models.exported import Exported, exported_function
from mlbench.models.exported_program import is_size
from mlbench.runs.checkpoint import read_network, rebuilt
from tests.experiment.test_runs import only_run, summary

SHAPE = (3, 70, 70)
QUICK = ("explain.samples=1", "model.mean=[0,0,0]", "model.std=[255,255,255]", "threads=1")


class Net(nn.Module):
    """Of inputs of any number of examples."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 5, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)).view(x.shape[0], -1))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A program that another program than mlbench has written."""
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    sizes = ({0: torch.export.Dim("n", min=1)},)
    torch.export.save(torch.export.export(Net().eval(), (torch.zeros(2, *SHAPE),), dynamic_shapes=sizes), path)
    return path


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """The same network in ONNX, written by hand, which takes one picture at a time."""
    onnx = pytest.importorskip("onnx")
    helper, tensor, net = onnx.helper, onnx.numpy_helper.from_array, Net()
    weights = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["maps"], strides=[3, 3]),
        helper.make_node("Relu", ["maps"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["y"], transB=1),
    ]
    sizes = {"x": [1, *SHAPE], "y": [1, 3]}
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size) for name, size in sizes.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], [tensor(v, k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(params=["program", "onnx_file"])
def file(request):
    return request.getfixturevalue(request.param)


def test_it_computes_what_the_network_computes_and_keeps_its_file(file):
    x, net = torch.randn(3, *SHAPE), Exported(SHAPE, 3, str(file))
    expected = Net()(x).detach()
    torch.testing.assert_close(net(x), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(copy.deepcopy(net)(x), expected, atol=1e-5, rtol=1e-5)
    elsewhere = Exported(SHAPE, 3, "")
    elsewhere.load_state_dict(net.state_dict())
    torch.testing.assert_close(elsewhere(x), expected, atol=1e-5, rtol=1e-5)
    assert not list(net.parameters())


def test_a_program_has_gradients_and_onnx_says_that_it_has_none(program, onnx_file):
    x, y = (torch.ones(1, *SHAPE, requires_grad=True) for _ in range(2))
    Exported(SHAPE, 3, str(program))(x).sum().backward()
    Net()(y).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    with pytest.raises(ValueError, match="no gradients; explain=rise"):
        Exported(SHAPE, 3, str(onnx_file))(x)


@pytest.mark.parametrize(("kind", "method"), [("program", "explain=saliency"), ("onnx_file", "explain=rise")])
def test_photographs_are_explained(mlbench, tmp_path, request, kind, method):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 80, 3), np.uint8)).save(tmp_path / "a.png")
    own = ("model=exported", f"checkpoint={request.getfixturevalue(kind)}", "model.classes=[a,b,c]")
    code, _, error = mlbench(method, "data=photos", f"data.path={tmp_path / 'a.png'}", *own, *QUICK)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    assert (folder / "predictions.csv").read_text().count("\n") == 3 + 1
    assert "randomisation_rho" not in summary(folder)["metrics"]
    packed = read_network(folder)
    assert packed["model"]["file"] == ""
    named = {**packed, "model": {**packed["model"], "file": str(tmp_path / "a.png")}}  # by a stranger: it is not read
    rebuilt(named, "x", ())(torch.zeros(1, *SHAPE))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("explain=saliency", "data=photos", *QUICK), "no gradients"),
        (("explain=rise", "data=photos"), "set model.mean and model.std"),
        (("explain=rise", "data=photos", "checkpoint=null"), "model.weights=network.onnx"),
        (("explain=rise", "data=digits", "model.size=8", *QUICK), "does not take inputs of 3x8x8"),
    ],
)
def test_what_an_exported_network_cannot_is_told(mlbench, onnx_file, words, told):
    code, _, error = mlbench("model=exported", f"checkpoint={onnx_file}", *words)
    assert (code, told in error) == (2, True), error
    assert len(error.strip().splitlines()) <= 2


def rewritten(path, changes):
    """The archive with the content of some entries, named by their ends, changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w") as copied:
        for entry in archive.infolist():
            content = archive.read(entry)
            for end, change in changes.items():
                content = change(content) if entry.filename.endswith(end) else content
            copied.writestr(entry, content)
    return out.getvalue()


def test_nothing_in_a_program_is_run(program, tmp_path):
    """Each of these would touch a file where torch itself reads it."""
    mark = tmp_path / "run"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    def as_json(change):
        def changed(content):
            content = json.loads(content)
            change(content)
            return json.dumps(content).encode()

        return changed

    def expression(model):
        for value in model["graph_module"]["graph"]["sym_int_values"].values():
            value["as_expr"]["expr_str"] = code

    def call(model):
        model["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"

    def guard(model):
        model["guards_code"] = [code]

    def pickled(config):
        next(iter(config["config"].values()))["use_pickle"] = True

    for end, change, told in (
        ("model.json", expression, "no size"),
        ("model.json", call, "calls torch.hub.load"),
        ("weights_config.json", pickled, "objects beside tensors"),
    ):
        with pytest.raises(UserError, match=told):
            exported_function(rewritten(program, {end: as_json(change)}), "x.pt2")
    with_code = exported_function(rewritten(program, {"model.json": as_json(guard)}), "x.pt2")
    torch.testing.assert_close(with_code.net(torch.ones(1, *SHAPE)), Net()(torch.ones(1, *SHAPE)).detach())
    assert not mark.exists()


@pytest.mark.parametrize(
    "text", ["s0", "2*s77 + 1", "Symbol('s31', positive=True, integer=True)", "FloorDiv(s0 - 1, 4)"]
)
def test_sizes_are_sizes(text):
    assert is_size(text)


@pytest.mark.parametrize(
    "text",
    ["os", "__import__('os')", "s0.__class__", "exec(1)", "Symbol('s0').subs", "(lambda: 1)()", "[s0]", 3, "s0; s1"],
)
def test_other_texts_are_none(text):
    assert not is_size(text)


@pytest.mark.parametrize(
    "raw", [b"", b"\x08\x07\x12\x04nets", b"PK\x03\x04 nothing", np.random.default_rng(0).bytes(99)]
)
def test_damaged_files_are_named(raw):
    with pytest.raises(UserError, match=r"^x\.bin"):
        exported_function(raw, "x.bin")


def test_damaged_programs_are_named(program):
    whole = program.read_bytes()
    with pytest.raises(UserError, match=r"^net\.pt2"):
        exported_function(whole[: len(whole) // 2], "net.pt2")
    with pytest.raises(UserError, match=r"^net\.pt2, a program of torch\.export \(\.pt2\), cannot be read"):
        exported_function(rewritten(program, {"model.json": lambda _: b"{}"}), "net.pt2")
