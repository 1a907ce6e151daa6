"""Child processes run nothing that lies in the working directory, and find what the parent finds."""

import re
import subprocess
from pathlib import Path

from mlbench.core.child_processes import python_command

ROOT = Path(__file__).resolve().parents[2]


def test_a_module_in_the_working_directory_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "inspect.py").write_text("open('ran', 'w')")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.py").write_text("import dataclasses, sys; print(sys.argv[1])")  # it imports inspect
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "mine"))
    done = subprocess.run(python_command("mine", "word"), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "word\n"
    assert not (tmp_path / "ran").exists()


def test_every_process_of_ours_is_started_so():
    sources = [path for folder in ("mlbench", "scripts") for path in (ROOT / folder).rglob("*.py")]
    found = [path.name for path in sources if re.search(r'executable\W{1,4}"-m"', path.read_text(encoding="utf-8"))]
    assert found == []
    client = ROOT / "mlbench" / "compress" / "measurement" / "client.py"
    assert 'python_command("mlbench.compress.measurement.worker")' in client.read_text(encoding="utf-8")
