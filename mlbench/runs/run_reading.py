"""Run folders of anybody read into records in which every field has its type: what else the files hold is refused.

Whatever reads runs that others may have made (the report, the tables of a sweep, the claims, the terminal) reads them
here, and uses nothing but the record. No torch.
"""

from pathlib import Path
from typing import Any

from mlbench.core.input_files import read_json, read_yaml
from mlbench.core.plain_text import printable
from mlbench.runs import layout
from mlbench.runs.run_record import RunRecord
from mlbench.runs.run_tables import LETTERS, UnreadableRun, attempt, is_measurement
from mlbench.runs.settings import with_current_targets

LONGEST = 1000  # letters of a name
MOST = 10_000  # metrics or settings of a run
MOST_HEADLINES = 100
TEXTS = ("family", "data", "model")
ENDS = ("high", "low", "")


def read_finished(folder: Path, label: str = "") -> tuple[RunRecord, list[str]]:
    """A finished run.

    Args:
        folder: the run's folder.
        label: what distinguishes it from the other runs of its sweep.

    Returns:
        The run, and a line for each thing that its record goes without.

    Raises:
        UnreadableRun: summary.json cannot be used.
    """
    summary, lines = attempt(folder / layout.SUMMARY, lambda path: valid_summary(read_json(path)))
    record, name = RunRecord(folder, summary, label=printable(label)), layout.CONFIG
    try:
        record.config = attempt(folder / name, valid_config)
    except UnreadableRun as error:
        lines.append(f"{error}; without its {name} it cannot be compared with others")
    try:
        if (folder / layout.ENVIRONMENT).exists():
            record.ended = attempt(folder / layout.ENVIRONMENT, valid_end)
    except UnreadableRun as error:
        lines.append(str(error))
    return record, lines


def valid_summary(summary: Any) -> tuple[dict[str, Any], list[str]]:
    """A summary whose fields have their types, and a line for each number that is left out. Raises UnreadableRun."""
    if not isinstance(summary, dict):
        raise UnreadableRun("it is no mapping")
    for name, known in (("schema", layout.SCHEMA), ("tables_schema", layout.TABLES_SCHEMA)):
        schema = summary.get(name, 1) if name != "schema" else field(summary, name)
        if type(schema) is not int or not 1 <= schema <= known:
            what = "tables of schema" if name == "tables_schema" else name
            raise UnreadableRun(f"{what} {shown(schema)} are not known here")
    valid: dict[str, Any] = {name: text(field(summary, name), name) for name in TEXTS}
    valid["technique"] = text(summary.get("technique") or "plain", "technique")
    valid["kind"] = text(summary.get("kind", ""), "kind")
    valid["seed"] = seed(field(summary, "seed"))
    valid["tables_schema"] = summary.get("tables_schema", 1)
    headlines = mapping(summary.get("headlines", {}), "headlines")
    if len(headlines) > MOST_HEADLINES:
        raise UnreadableRun(f"headlines has more than {MOST_HEADLINES} entries")
    if wrong := [end for end in headlines.values() if end not in ENDS]:
        raise UnreadableRun(f"headlines has {shown(wrong[0])}; allowed is high, low or an empty text")
    valid["headlines"] = headlines
    left_out = []
    for name in ("metrics", "costs"):
        given = mapping(field(summary, name), name)
        valid[name] = {key: value for key, value in given.items() if is_measurement(value)}
        left_out += [f"{name}.{key}" for key in given.keys() - valid[name].keys() if given[key] is not None]
    lines = [f"{layout.SUMMARY}: {', '.join(sorted(left_out))[:LETTERS]} left out: no numbers"] if left_out else []
    return valid, lines


def field(summary: dict[str, Any], name: str) -> Any:
    """A field that every summary has. Raises UnreadableRun where it lacks it."""
    if name not in summary:
        raise UnreadableRun(f"no '{name}'")
    return summary[name]


def text(value: Any, name: str) -> str:
    """A text, without characters that cannot be seen. Raises UnreadableRun for anything else."""
    if not isinstance(value, str) or len(value) > LONGEST:
        raise UnreadableRun(f"{name} is {shown(value)}, not a text")
    return printable(value)


def seed(value: Any) -> int:
    """A whole number. Raises UnreadableRun for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) >= 2**63:
        raise UnreadableRun(f"seed is {shown(value)}, not a whole number")
    return value


def mapping(value: Any, name: str) -> dict[str, Any]:
    """A mapping from texts, each without characters that cannot be seen. Raises UnreadableRun for anything else."""
    if not isinstance(value, dict):
        raise UnreadableRun(f"{name} is {shown(value)}, not a mapping")
    if len(value) > MOST:
        raise UnreadableRun(f"{name} has more than {MOST} entries")
    return {text(key, f"a name in {name}"): each for key, each in value.items()}


def shown(value: Any) -> str:
    """A value of any kind for a message."""
    return f"a {type(value).__name__}" if isinstance(value, dict | list) else printable(repr(value)[:40])


def valid_config(path: Path) -> dict[str, Any]:
    """A run's config.yaml as plain values, each `_target_` as it is spelled today. Raises UserError, UnreadableRun."""
    config = read_yaml(path)
    if not isinstance(config, dict):
        raise UnreadableRun("it is no mapping")
    if count(config) > MOST:
        raise UnreadableRun(f"it has more than {MOST} values")
    return with_current_targets(seen(config))


def count(value: Any) -> int:
    """How many values a value has in it, itself included."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count, parts))


def seen(value: Any) -> Any:
    """Plain values, their texts without characters that cannot be seen."""
    if isinstance(value, dict):
        return {printable(str(key)): seen(part) for key, part in value.items()}
    if isinstance(value, list):
        return [seen(part) for part in value]
    return printable(value) if isinstance(value, str) else value


def valid_end(path: Path) -> str:
    """When a run ended, from its env.json; empty where that does not say it. Raises UserError, UnreadableRun."""
    return text(mapping(read_json(path), "its content").get("ended") or "", "ended")
