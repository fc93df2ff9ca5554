"""`python -m scanner_second_corpus.proof [CLASS...]`: loads what can be loaded here, and says what did not do its work.

Each sample with a `proof` is given to its loader, in a process and a folder of its own, without a network to speak of;
what it claims is true when the marker stands there afterwards. Some want another version of a library, and say why.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import samples
from .sample import MARKER, Sample

LOADERS = {
    "pickle": "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))",
    "joblib": "import joblib, sys; joblib.load(sys.argv[1])",
    "torch": "import torch, sys; torch.load(sys.argv[1], weights_only=False)",
}
SECONDS = 60


def shortfall(sample: Sample) -> str | None:
    """The last thing said by a loader after which there is no marker; None when there is one."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for file, content in sample.files.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_bytes(content)
        command = [sys.executable, "-W", "ignore", "-c", LOADERS[sample.proof], next(iter(sample.files))]
        away = {"PATH": os.environ["PATH"], "HOME": name, "PIP_NO_INDEX": "1", "https_proxy": "http://127.0.0.1:9"}
        try:
            run = subprocess.run(
                command, cwd=place, env=away, capture_output=True, text=True, timeout=SECONDS, check=False
            )
            said = (run.stderr.strip().splitlines() or ["nothing"])[-1]
        except subprocess.TimeoutExpired:
            said = f"not done in {SECONDS} s"
        return None if os.path.lexists(place / MARKER) else said


def main() -> None:
    chosen = sys.argv[1:]
    done = wanting = 0
    for sample in samples():
        if sample.proof and (not chosen or sample.group in chosen):
            said = shortfall(sample)
            done, wanting = done + (said is None), wanting + (said is not None)
            if said is not None:
                print(f"{sample.group}: {sample.name}: {said}")
    print(f"{done} made the marker, {wanting} did not")


if __name__ == "__main__":
    main()
