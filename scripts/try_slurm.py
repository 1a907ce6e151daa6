"""A sweep on a real SLURM cluster of one node, made for the purpose: jobs are preempted, requeued and cancelled.

    python scripts/try_slurm.py             # needs root; Debian: apt-get install slurmctld slurmd slurm-client munge

The cluster lives in a temporary folder, listens on the loopback interface and is gone at the end. Its results must be
number for number those of the same sweep without it. Takes about five minutes; exit code 1 when something is wrong.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mlbench.core.child_processes import python_command

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
PORTS = (16817, 16818)
CONFIG = """\
ClusterName=try
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=try Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
SWEEP = ("lifelong=gem", "seeds=3", "data.train_per_task=1000", "train.epochs=12", "train.lr=0.02", "threads=1")
LAUNCHER = ("hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=null", "hydra.launcher.signal_delay_s=10")


def main() -> int:
    """Run all of it; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # the cluster goes, too
    if missing := [program for program in NEEDED if shutil.which(program) is None]:
        print(f"not installed: {', '.join(missing)} (apt-get install slurmctld slurmd slurm-client munge)")
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="try-slurm-")))
        stack.enter_context(cluster(folder))
        plain, cut, lost = folder / "plain", folder / "cut", folder / "lost"
        check("the sweep without SLURM", sweep(plain).wait() == 0)
        going = sweep(cut, *LAUNCHER)
        ask("scancel", "--signal=USR2", job_of(cut, 0))
        ask("scontrol", "requeue", job_of(cut, 1))
        check("the sweep on SLURM, one job preempted by USR2 and one requeued", going.wait() == 0)
        compare(plain, cut)
        going = sweep(lost, *LAUNCHER)
        ask("scancel", job_of(lost, 1))
        check("the sweep on SLURM with one job cancelled ends with exit code 1", going.wait() == 1)
        check("and has the results of the others", len(list(lost.glob("*/*/*/summary.json"))) == 2)
    print("all is well")
    return 0


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A SLURM cluster of this machine alone, as long as the context lasts."""
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    folder.chmod(0o755)
    host, config = socket.gethostname().partition(".")[0], folder / "slurm.conf"
    config.write_text(CONFIG.format(folder=folder, host=host, ports=PORTS, cpus=os.cpu_count()))
    os.environ["SLURM_CONF"] = str(config)
    files = {"socket": "munge.socket", "key-file": key.name, "log-file": "munge.log"}
    files |= {"pid-file": "munge.pid", "seed-file": "munge.seed"}
    commands = (
        ["munged", "--foreground", "--force", *(f"--{name}={folder / file}" for name, file in files.items())],
        ["slurmctld", "-D", "-f", str(config)],
        ["slurmd", "-D", "-f", str(config), "-N", host],
    )
    daemons = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("w") as log:
                daemons.append(subprocess.Popen(command, stdout=log, stderr=log))
            time.sleep(2)
        wait_for(lambda: "idle" in ask("sinfo", "--noheader", "--format=%t"), "a node that is idle")
        yield
    finally:
        ask("scancel", f"--user={os.getuid()}")
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(60)


def sweep(out: Path, *words: str) -> "subprocess.Popen[bytes]":
    """The sweep, started; checkpoints every second."""
    environment = {**os.environ, "MLBENCH_SAVE_SECONDS": "1"}
    return subprocess.Popen(python_command("mlbench", *SWEEP, *words, f"out={out}"), env=environment)


def job_of(out: Path, seed: int) -> str:
    """SLURM's name of the job with a seed, as soon as it has left a checkpoint."""
    runs = lambda: [path.parent.parent for path in out.glob("lifelong/*/*/checkpoints/last.pt")]  # noqa: E731
    wait_for(lambda: any(f"seed: {seed}\n" in (run / "config.yaml").read_text() for run in runs()), f"seed {seed}")
    arrays = ask("squeue", "--noheader", "--format=%F").split()
    return f"{max(arrays, key=int)}_{seed}"


def compare(plain: Path, cut: Path) -> None:
    """Check that both folders hold the same numbers, and that two runs of the second were resumed."""
    resumed = 0
    for summary in plain.glob("*/*/*/summary.json"):
        other = cut / summary.parent.relative_to(plain)
        same = (summary.parent / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
        metrics = [json.loads((place / "summary.json").read_text())["metrics"] for place in (summary.parent, other)]
        check(f"{other.parent.name}/{other.name}: the same numbers", same and metrics[0] == metrics[1])
        resumed += "resumed" in json.loads((other / "env.json").read_text())
    check("two runs went on from a checkpoint", resumed == 2)


def ask(*command: str) -> str:
    """What a command of SLURM says."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def wait_for(what: Callable[[], bool], name: str) -> None:
    """Wait until something is so; at most ten minutes."""
    until = time.monotonic() + 600
    while not what():
        if time.monotonic() > until:
            raise SystemExit(f"waited in vain for {name}")
        time.sleep(0.2)


def check(what: str, ok: bool) -> None:
    """Say whether something is as it must be; the end when it is not."""
    print(f"{'ok' if ok else 'WRONG'}: {what}", flush=True)
    if not ok:
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
