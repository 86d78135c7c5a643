"""Claims about training with several processes, checked with two real ones under torchrun."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from headgate.profiles.errors import UsageError
from headgate.train.folder.run_folder import load_run
from headgate.train.processes import start_fabric
from train.tiny_runs import tiny_config, write_pictures

# Each process notes, at the end of each epoch, the weights that it holds itself.
SCRIPT = """
import sys
from pathlib import Path
from train.tiny_runs import tiny_config
from headgate.train.folder.checkpoints import write_tensors
from headgate.train.run.plan import make_plan
from headgate.train.processes import start_fabric
from headgate.train.run.prune import beginning, train_prune
from headgate.train.run.progress import Silent
from headgate.train.run.training import Training

folder = Path(sys.argv[1])
config = tiny_config(folder / "tiny.npz", budgets=(6, 2), checkpoint_steps=3)
fabric = start_fabric(config)
plan = make_plan(config)
work = folder / "work"
work.mkdir(exist_ok=True)

class Noting(Training):
    def _end_stage(self, work):
        mine = folder / f"{work.stage.id}-{fabric.global_rank}.safetensors"
        write_tensors(mine, work.model.state_dict())
        super()._end_stage(work)

Noting(fabric, plan, folder=work, state=beginning(fabric), progress=Silent()).run()
train_prune(config, folder / "run")
"""


def test_two_processes_hold_the_same_weights_after_every_stage(tmp_path: Path) -> None:
    write_pictures(tmp_path / "tiny.npz")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    path = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--standalone", str(script), str(tmp_path)]
    done = subprocess.run(
        command,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(filter(None, path)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for stage in ("backbone", "b6r1", "b2r1"):
        first = load_file(tmp_path / f"{stage}-0.safetensors")
        second = load_file(tmp_path / f"{stage}-1.safetensors")
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    run = load_run(tmp_path / "run")
    assert run.member_ids == ("b6r1", "b2r1")
    ours = run.member("b2r1").state_dict()
    theirs = load_file(tmp_path / "b2r1-0.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match="cuda is not usable here"):
        start_fabric(tiny_config(tmp_path / "tiny.npz", device="cuda"))


def test_what_fabric_tells_of_itself_is_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start_fabric(tiny_config(tmp_path / "tiny.npz", device="cpu", precision="bfloat16"))
    assert not caplog.records
    assert not logging.getLogger("lightning_fabric").isEnabledFor(logging.INFO)
