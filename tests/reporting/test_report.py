"""The report, from run folders to its page and tables: against scipy, by hand, and among broken runs."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin, urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
import yaml
from scipy import stats

from mlbench.core.csv_files import read_rows
from mlbench.core.errors import UserError
from mlbench.core.statistics import Spread
from mlbench.reporting.aggregate import spreads_by_label
from mlbench.reporting.report import paired_tests
from mlbench.reporting.report.build import answer, write_report
from mlbench.reporting.report.grouping import compare, differences
from mlbench.reporting.report.media_budget import choose, media
from mlbench.reporting.report.run_records import collect
from mlbench.reporting.report.table_export import Sheet, latex, markdown
from mlbench.runs.run_reading import read_finished
from tests import made_up_runs

ACCURACY = {  # by seed
    "gem": {0: 0.91, 1: 0.93, 2: 0.92, 3: 0.9},
    "ewc": {0: 0.71, 1: 0.69, 2: 0.75, 4: 0.1},
    "finetune": {0: 0.7, 1: 0.74, 2: 0.71},
}


def run(folder, technique="gem", seed=0, ended="2026-01-01T00:00:00", settings=None, name=None, **metrics):
    """A lifelong run's folder."""
    place = folder / "lifelong" / f"{technique}-digits-mlp" / (name or f"{technique}{seed}{settings or ''}")
    identity = ("lifelong", technique, "digits", "mlp")
    made_up_runs.write(place, identity, seed, settings or {}, metrics or {"average_accuracy": 0.5})
    (place / "env.json").write_text(json.dumps({"ended": ended}))
    return place


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def three(tmp_path):
    """Three methods on shared and other seeds."""
    for technique, values in ACCURACY.items():
        for seed, value in values.items():
            run(tmp_path, technique, seed, average_accuracy=value, forgetting=1 - value)
    return tmp_path


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Sixty made-up runs of all families, and their report."""
    folder = tmp_path_factory.mktemp("many")
    made_up_runs.make(folder, 60)
    write_report(folder, folder / "report")
    return folder


def test_paired_tests_are_those_of_scipy(three):
    write_report(three, three / "report")
    rows = {(row["one"], row["other"]): row for row in read(three / "report" / "tests.csv") if row["metric"][0] == "a"}
    assert list(rows) == [("gem", "finetune"), ("gem", "ewc"), ("finetune", "ewc")]  # the best mean first
    found = []
    for (one, other), row in rows.items():
        seeds = sorted(ACCURACY[one].keys() & ACCURACY[other].keys())
        a, b = ([ACCURACY[name][seed] for seed in seeds] for name in (one, other))
        expected = stats.ttest_rel(a, b)
        low, high = expected.confidence_interval(0.95)
        assert int(row["seeds"]) == len(seeds) == 3
        assert float(row["difference"]) == pytest.approx(np.subtract(a, b).mean())
        assert float(row["half_interval"]) == pytest.approx((high - low) / 2)
        assert float(row["p"]) == pytest.approx(expected.pvalue)
        found.append(expected.pvalue)
    small, middle, large = sorted(found)
    corrected = [3 * small, max(3 * small, 2 * middle), max(3 * small, 2 * middle, large)]
    assert sorted(float(row["p_holm"]) for row in rows.values()) == pytest.approx(corrected)


def test_holms_correction_by_hand():
    assert paired_tests.holm(np.array([0.01, 0.04, 0.03, 0.5])) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert paired_tests.holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])
    assert paired_tests.holm(np.array([])).size == 0


def test_equal_and_constant_differences_are_not_tested(tmp_path):
    for seed in range(3):
        run(tmp_path, "gem", seed, average_accuracy=0.5)
        run(tmp_path, "ewc", seed, average_accuracy=0.5)
        run(tmp_path, "er", seed, average_accuracy=0.7)
    write_report(tmp_path, tmp_path / "report")
    assert not (tmp_path / "report" / "tests.csv").exists()


def test_means_and_intervals_are_those_of_scipy(three):
    write_report(three, three / "report")
    rows = {row["setting"]: row for row in read(three / "report" / "compared.csv") if row["metric"] == "forgetting"}
    for name, values in ACCURACY.items():
        forgetting = [1 - value for value in values.values()]
        half = stats.t.ppf(0.975, len(forgetting) - 1) * stats.sem(forgetting)
        assert float(rows[name]["mean"]) == pytest.approx(np.mean(forgetting))
        assert float(rows[name]["half_interval"]) == pytest.approx(half)
        assert int(rows[name]["runs"]) == len(values)


def test_where_a_run_was_made_is_not_a_setting(tmp_path):
    for seed in range(2):
        config = run(tmp_path, seed=seed) / "config.yaml"
        text = config.read_text() + f"threads: {seed + 1}\ndevice: {'cpu' if seed else 'cuda'}\nkeep: {seed}\n"
        config.write_text(text + ("reference: null\n" if seed else ""))  # an older run may lack what is null
    ((comparison,), repeated) = compare(collect(tmp_path, tmp_path / "report").runs)
    (setting,) = comparison.settings
    assert sorted(setting.runs) == [0, 1]
    assert not repeated


def test_a_tracker_makes_no_setting(tmp_path):
    for seed in range(2):
        run(tmp_path, seed=seed, ended="2026-01-01T00:00:00", name=f"bare{seed}")
        config = run(tmp_path, seed=seed, ended="2026-01-02T00:00:00", name=f"tracked{seed}") / "config.yaml"
        config.write_text(config.read_text() + "logger: {_target_: mlbench.runs.loggers.mlflow.MLflow, uri: ./here}\n")
    ((comparison,), repeated) = compare(collect(tmp_path, tmp_path / "report").runs)
    (setting,) = comparison.settings
    assert [record.folder.name for record in setting.runs.values()] == ["tracked0", "tracked1"]
    assert {record.folder.name for record in repeated} == {"bare0", "bare1"}


def test_of_two_runs_of_one_seed_the_newer_counts(tmp_path):
    run(tmp_path, ended="2026-01-02T00:00:00", name="a", average_accuracy=0.9)
    run(tmp_path, ended="2026-01-01T00:00:00", name="b", average_accuracy=0.1)
    ((comparison,), (older,)) = compare(collect(tmp_path, tmp_path / "report").runs)
    assert comparison.settings[0].spreads["average_accuracy"] == Spread(0.9, None, 1)
    assert older.folder.name == "b"
    write_report(tmp_path, tmp_path / "report")
    assert "repeated later, not counted" in (tmp_path / "report" / "index.html").read_text()


def test_only_settings_that_differ_in_one_thing_are_tested(tmp_path):
    for seed in range(2):
        for strength in (1, 2):
            for rate in (0.1, 0.2):
                run(tmp_path, "ewc", seed, settings={"strength": strength, "rate": rate}, average_accuracy=seed + rate)
        run(tmp_path, "gem", seed, average_accuracy=0.3 + 0.5 * seed)
    ((comparison,), _) = compare(collect(tmp_path, tmp_path / "report").runs)
    labels = {setting.label: setting for setting in comparison.settings}
    assert set(labels) == {"gem", *(f"ewc rate={r} strength={s}" for r in ("0.1", "0.2") for s in (1, 2))}
    one, other = labels["ewc rate=0.1 strength=1"], labels["ewc rate=0.2 strength=2"]
    assert differences(one, other) == {"lifelong.rate", "lifelong.strength"}
    assert differences(one, labels["gem"]) == {"lifelong"}
    places = {(test.one, test.other) for test in paired_tests.pairwise_tests(comparison)}
    tested = {frozenset(comparison.settings[place].label for place in pair) for pair in places}
    assert frozenset((one.label, other.label)) not in tested
    assert frozenset((one.label, "gem")) in tested


def test_of_very_many_pairs_those_with_the_best_setting_are_tested(tmp_path, monkeypatch):
    for seed in range(3):
        for strength in range(5):
            value = strength + seed / 10 + (seed + 3) * (strength + 1) % 7 / 100
            run(tmp_path, "ewc", seed, settings={"strength": strength}, average_accuracy=value)
    ((comparison,), _) = compare(collect(tmp_path, tmp_path / "report").runs)
    assert len(paired_tests.pairwise_tests(comparison)) == 10
    monkeypatch.setattr(paired_tests, "PAIRS", 9)
    found = paired_tests.pairwise_tests(comparison)
    assert [(test.one, test.other) for test in found] == [(0, other) for other in range(1, 5)]
    assert comparison.settings[0].label == "ewc strength=4"
    write_report(tmp_path, tmp_path / "report")
    assert "only those with the first setting are tested" in (tmp_path / "report" / "index.html").read_text()


def test_broken_runs_are_listed_and_the_others_reported(tmp_path):
    good = run(tmp_path, seed=7, average_accuracy=0.875)
    places = {name: run(tmp_path, seed=number, name=name) for number, name in enumerate("abcdefgh")}
    (places["a"] / "summary.json").write_text('{"schema": 1, "fam')
    (places["b"] / "summary.json").write_text('{"schema": 1}')
    (places["c"] / "summary.json").write_bytes(b"\xff\xfe\x00")
    (places["d"] / "summary.json").write_text("[]")
    (places["e"] / "summary.json").unlink()
    (places["f"] / "config.yaml").write_text("a: [")
    (places["g"] / "accuracy_matrix.csv").write_text("tasks_learned,one\n0,abc\n")
    (places["h"] / "env.json").write_text("nonsense")
    (good / "accuracy_matrix.csv").write_text("")
    (tmp_path / "summary.json.d").mkdir()
    write_report(tmp_path, tmp_path / "report")
    text = (tmp_path / "report" / "index.html").read_text()
    aside = text[text.index('<section id="aside"') :]
    for name in places:
        assert aside.count(f"gem-digits-mlp/{name}<") >= 1, name
    for words in (
        "no &#39;family&#39;",
        "not finished",
        "without its config.yaml",
        "accuracy_matrix.csv cannot be read",
    ):
        assert words in aside
    assert {row["seed"] for row in read(tmp_path / "report" / "runs.csv")} == {"5", "6", "7"}
    assert "0.875" in text


def test_numbers_that_are_none_are_left_out(tmp_path):
    place = run(tmp_path, average_accuracy=0.25, forgetting=0.5)
    summary = (place / "summary.json").read_text().replace("0.5", "NaN")
    (place / "summary.json").write_text(summary)
    (record,) = collect(tmp_path, tmp_path / "report").runs
    assert record.metrics == {"average_accuracy": 0.25}


def test_everything_is_where_it_is_there_and_only_there(many, three):
    text = (many / "report" / "index.html").read_text()
    for name in ("compared", "tasks", "costs", "layers", "gallery", "runs"):
        assert f'<section id="{name}"' in text
    assert '<section id="aside"' not in text
    assert 'src="data:image/png' in text
    assert 'src="data:audio/wav' in text
    write_report(three, three / "report")
    alone = (three / "report" / "index.html").read_text()
    for name in ("tasks", "costs", "layers", "gallery", "aside"):
        assert f'<section id="{name}"' not in alone


def test_a_second_report_ignores_the_first(many):
    before = (many / "report" / "index.html").read_text()
    write_report(many, many / "report")
    assert (many / "report" / "index.html").read_text() == before


def test_points_are_means_over_seeds(many):
    rows = [row for row in read(many / "report" / "points.csv") if (row["step"], row["metric"]) == ("0", "bytes")]
    assert {float(row["mean"]) for row in rows} == {70_000}
    tables = sorted(path for path in many.rglob("points.csv") if "prune" in str(path) and "report" not in path.parts)
    (accuracy,) = {
        row["mean"]
        for row in read(many / "report" / "points.csv")
        if (row["setting"], row["step"], row["metric"]) == ("prune target=0", "1", "accuracy")
    }
    assert float(accuracy) == pytest.approx(np.mean([float(read(path)[1]["accuracy"]) for path in tables[:5]]))


def test_pictures_and_sounds_keep_to_their_budget(many):
    comparisons, _ = compare(collect(many, many / "report").runs)
    found = [media(setting) for comparison in comparisons for setting in comparison.settings]
    files = [path for one in found for group in one.in_order() for path in group]
    everything = sum(path.stat().st_size for path in files)
    left_out = choose(found, 0.7e-6 * everything)
    chosen = set.union(*(one.chosen for one in found))
    assert chosen.isdisjoint(left_out)
    assert chosen | set(left_out) == set(files)
    assert sum(path.stat().st_size for path in chosen) * 4 / 3 <= 0.7 * everything
    assert all(one.figures[0] in one.chosen for one in found if one.figures)  # everyone's first before others' second
    write_report(many, many / "small", megabytes=0)
    text = (many / "small" / "index.html").read_text()
    assert "data:audio" not in text
    assert f"{len(files)} pictures and sounds" in text


def test_figures_and_sounds_are_files_that_are_there(tmp_path):
    place = run(tmp_path)
    for folder, ending in (("figures", "png"), ("artefacts", "wav")):
        (place / folder / f"folder.{ending}").mkdir(parents=True)
        (place / folder / f"gone.{ending}").symlink_to(tmp_path / "nowhere")
    comparisons, _ = compare(collect(tmp_path, tmp_path / "report").runs)
    found = media(comparisons[0].settings[0])
    assert (found.figures, found.sounds) == ([], {})
    assert choose([found], 1.0) == []


def test_sounds_of_one_title_stand_together_the_original_first(tmp_path):
    place = run(tmp_path)
    names = ("a_1_layer_10", "a_1_layer_9", "a_1_untrained_layer_9", "a_1_original", "b_layer_1", "noise")
    (place / "artefacts").mkdir()
    for name in names:
        (place / "artefacts" / f"{name}.wav").touch()
    ((comparison,), _) = compare(collect(tmp_path, tmp_path / "report").runs)
    sounds = media(comparison.settings[0]).sounds
    assert {title: [what for what, _ in players] for title, players in sounds.items()} == {
        "a_1": ["original", "layer 9", "layer 10", "untrained layer 9"],
        "b": ["layer 1"],
        "sounds": ["noise"],
    }


def test_tables_for_people(tmp_path):
    rows = [["a|b_c", Spread(0.5, 0.25, 3), 12345, None], ["50 %", Spread(2000.0, None, 1), 1, 0.5]]
    sheet = Sheet("title", ["name", "x", "n", "y"], rows)
    assert markdown(sheet).splitlines()[2:] == [
        "| name | x | n | y |",
        "| --- | ---: | ---: | ---: |",
        "| a\\|b_c | 0.500 ± 0.250 | 12,345 |  |",
        "| 50 % | 2,000 | 1 | 0.500 |",
    ]
    assert latex(sheet).splitlines()[1:] == [
        r"\begin{tabular}{lrrr}",
        r"name & x & n & y \\",
        r"\hline",
        r"a|b\_c & 0.500 $\pm$ 0.250 & 12,345 &  \\",
        r"50 \% & 2,000 & 1 & 0.500 \\",
        r"\end{tabular}",
    ]


def test_texts_of_tables_are_no_commands():
    evil = "a\n\\input{x} [l](javascript:x) <b>`c`* | \x1b"
    sheet = Sheet(evil, ["name", evil], [[evil, 1], ["[2]", 2], ["* 3", 3]])
    told = latex(sheet)
    assert told.startswith(r"% a\textbackslash{}n\textbackslash{}input\{x\} {[}l{]}")
    assert len(told.splitlines()) == 8
    assert not re.search(r"(?<!\{)[\[\]*]|\\input|\x1b", told)
    assert {"{[}2{]} & 2", "{*} 3 & 3"} <= {line.removesuffix(r" \\") for line in told.splitlines()}
    told = markdown(sheet)
    assert len(told.splitlines()) == 7
    assert not re.search(r"(?<!\\)[`\[\]<>*]|\x1b", told)
    assert told.splitlines()[0] == r"### a\\n\\input{x} \[l\](javascript:x) \<b\>\`c\`\* \| \\x1b"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no such folder"),
        (["."], "no finished runs"),
        ([".", "more"], "usage: mlbench report"),
        (["--all"], "usage: mlbench report"),
        (["media=many"], "megabytes"),
        (["media=-1"], "megabytes"),
        (["medai=1"], "did you mean 'media'"),
    ],
)
def test_error_messages_have_at_most_two_lines(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as error:
        answer(words)
    assert str(error.value).count("\n") <= 1
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_page_and_needs_no_torch(three):
    code = (
        "import sys; from mlbench.cli.main import main; code = main(); "
        "sys.exit(code or bool({'torch', 'matplotlib', 'scipy.stats'} & set(sys.modules)))"  # each takes a second
    )
    command = [sys.executable, "-c", code, "report", str(three), f"out={three / 'elsewhere'}"]
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    assert told.strip() == str(three / "elsewhere" / "index.html")
    assert (three / "elsewhere" / "runs.tex").is_file()


def test_the_command_line_answers_mistakes_with_2(mlbench, tmp_path):
    code, _, stderr = mlbench("report", str(tmp_path / "nowhere"), out=False)
    assert code == 2
    assert stderr.count("\n") <= 2


def on_data(folder, settings, technique="gem", accuracy=0.5):
    """A run on data with these settings."""
    place = run(
        folder, technique, 0, name=f"{technique}-{len(list(folder.rglob('summary.json')))}", average_accuracy=accuracy
    )
    config = yaml.safe_load((place / "config.yaml").read_text())
    config["data"] |= settings
    (place / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize("name", ["path", "drop_classes", "train_examples"])
def test_only_runs_on_equal_data_are_compared(tmp_path, name):
    values = {"path": ["a.npz", "b.npz"], "drop_classes": [[], [3]], "train_examples": [100, 200]}[name]
    for value in values:
        for technique in ("gem", "ewc"):
            on_data(tmp_path, {name: value}, technique, 0.5 + 0.1 * (technique == "gem"))
    comparisons, _ = compare(collect(tmp_path, tmp_path / "report").runs)
    assert [[setting.label for setting in each.settings] for each in comparisons] == [["gem", "ewc"]] * 2
    titles = {each.title for each in comparisons}
    assert len(titles) == len({each.name for each in comparisons}) == 2
    assert all(any(f"{name}=" in part for part in title.split(" · ")) for title in titles)


def test_an_empty_list_is_what_earlier_versions_left_out(tmp_path):
    for settings in ({}, {"drop_classes": []}):
        on_data(tmp_path, settings)
    comparisons, _ = compare(collect(tmp_path, tmp_path / "report").runs)
    assert len(comparisons) == 1


def test_training_is_all_training(tmp_path):
    """A student's training is booked apart from its teacher's, which may have been read from a file."""
    place = run(tmp_path)
    summary = json.loads((place / "summary.json").read_text())
    summary["costs"] |= {"train_seconds": 0.0, "finetune_seconds": 41.5}
    (place / "summary.json").write_text(json.dumps(summary))
    write_report(tmp_path, tmp_path / "report")
    assert (tmp_path / "report" / "index.html").read_text().count(">41.5<") == 2  # the setting, and the run
    record = read_finished(place, "one")[0]
    assert spreads_by_label([record])["one"]["train_seconds"].mean == 41.5


def test_links_lead_to_folders_of_any_name(tmp_path):
    place = run(tmp_path, name="a#b?c%20d 结果")
    write_report(tmp_path, tmp_path / "report")
    links = re.findall('<a href="([^"#][^"]*)"', (tmp_path / "report" / "index.html").read_text())
    address = urljoin((tmp_path / "report" / "index.html").as_uri(), next(link for link in links if "gem-" in link))
    assert url2pathname(urlsplit(address).path).rstrip("/") == str(place)


def test_a_folder_that_is_named_like_a_scheme_is_a_folder(tmp_path):
    """The page lies beside the runs, so that the way to a run begins with its own name."""
    names = ("javascript:alert(1)", 'a"b\nc', "b'<i>", "x\udcffy", "=1+1")
    for number, name in enumerate(names):
        run(tmp_path, name=str(number), seed=number).rename(tmp_path / name)
    write_report(tmp_path, tmp_path)
    page = (tmp_path / "index.html").read_text()
    links = re.findall('<a href="([^"#]+)"', page)
    assert len(links) == len(names)
    assert all(re.fullmatch(r"\./[\w.%~-]+/", link) for link in links), links
    assert {os.fsdecode(unquote_to_bytes(link)) for link in links} == {f"./{name}/" for name in names}
    assert "=1+1/" in {row["folder"] for row in read_rows(tmp_path / "runs.csv")}
    assert "'=1+1/" in (tmp_path / "runs.csv").read_text()


def test_names_are_text_on_the_page(tmp_path):
    name = "<script>alert(1)</script>&amp;[red]"
    on_data(tmp_path, {"path": f"{name}.npz"})
    on_data(tmp_path, {"path": "b.npz"})
    write_report(tmp_path, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;[red]" in page
