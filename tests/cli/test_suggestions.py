"""A name that is not there: what was meant is said, wherever in mlbench it is."""

import pytest


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["compress=quantize"], ["compress=quantize: there is no such compress; did you mean 'int8'", "prune"]),
        (["compress=knowledge_distillation"], ["did you mean 'distill'"]),
        (["explain=shap"], ["did you mean 'kernel_shap'"]),
        (["lifelong=gradcam"], ["lifelong=gradcam: there is no such lifelong; there is explain=gradcam\n"]),
        (["help", "compress=lime"], ["there is explain=lime"]),
        (["help", "explain=gradcm"], ["did you mean 'gradcam'"]),
        (["list", "gradcam"], ["mlbench help explain=gradcam", "mlbench list explain"]),
        (["help", "gradcam"], ["mlbench help explain=gradcam", "mlbench list explain"]),
        (["list", "gradcm"], ["did you mean explain=gradcam"]),
        (["list", "lifelon"], ["did you mean 'lifelong'"]),
        (["gradcam"], ["no command called gradcam", "mlbench help explain=gradcam"]),
        (["hlep"], ["no command called hlep; did you mean 'help'"]),
        (["lifelon=ewc"], ["lifelon: no such setting; did you mean 'lifelong'"]),
        (["lecture", "forgeting"], ["did you mean 'forgetting'"]),
        (["data", "get", "mnst"], ["did you mean 'mnist'"]),
        (["compress=zzzz"], ["compress=zzzz: there is no such compress\n"]),
    ],
)
def test_what_was_meant_is_said(mlbench, tmp_path, words, parts):
    code, stdout, stderr = mlbench(*words, out=False)
    assert (code, stdout) == (2, "")
    assert all(part in stderr for part in parts), stderr
    assert stderr.count("\n") <= 2


def test_choices_of_the_users_own_are_found(mlbench, tmp_path):
    (tmp_path / "lifelong").mkdir()
    (tmp_path / "lifelong" / "hourglass.yaml").write_text("# A method of sand\n")
    asked = ((["list", "hourglass"], "lifelong=hourglass"), (["help", "explain=hourglas"], "lifelong=hourglass"))
    for words, told in asked:
        code, _, stderr = mlbench("--config-dir", str(tmp_path), *words, out=False)
        assert (code, told in stderr) == (2, True), stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lifelong=EWC"], "did you mean 'ewc'?"),
        (["explain=gradCAM"], "did you mean 'gradcam'?"),
        (["data=CIFAR10"], "did you mean 'cifar10'?"),
        (["epochs=3"], "did you mean 'train.epochs'?"),
        (["trian.lr=1"], "did you mean 'train.lr'?"),
        (["--seed", "1"], "no option called --seed; settings have no dashes: seed=VALUE"),
        (["--data-dir=x"], "settings have no dashes: data_dir=VALUE"),
        (["--multirn", "seed=0,1"], "no option called --multirn; did you mean '--multirun'?"),
        (["-v"], "no option called -v"),
        (["compress"], "compress: a name is needed, as in compress=NAME"),
    ],
)
def test_capitals_dashes_and_groups_are_understood(mlbench, words, told):
    code, _, error = mlbench(*words)
    assert code == 2
    assert told in error
    assert error.count("\n") <= 2
