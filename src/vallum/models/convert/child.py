"""What runs in the sandbox: one conversion, told on standard input, and its outcome said on standard output."""

import json
import sys
from pathlib import Path
from typing import Any

from vallum.kernel.errors import Invalid, Unavailable, VallumError
from vallum.models.convert.safetensors_file import verify_safetensors, write_safetensors
from vallum.models.convert.sandbox import LIMITS_ONLY, hold
from vallum.models.convert.sklearn_onnx import convert_onnx
from vallum.models.convert.sklearn_skops import convert_sklearn
from vallum.models.convert.torch_state import read_state

__all__: list[str] = []

_MOST_TIMES = 4  # also what a file may be at most, by its limit


def _converted(given: dict[str, Any]) -> dict[str, Any]:
    source, folder = Path(given["source"]), Path(given["folder"])
    sandbox = hold(source, folder)
    if given["kind"] != "torch" and sandbox == LIMITS_ONLY and not given["wrapped"]:
        raise Unavailable("scikit-learn models are unpickled, and only without a network: install bubblewrap")
    if given["kind"] == "sklearn":
        return {**convert_sklearn(source, folder / "converted"), "sandbox": sandbox, "verified": "the same parts"}
    if given["kind"] == "onnx":
        return {**convert_onnx(source, folder / "converted", given["metadata"]), "sandbox": sandbox}
    with source.open("rb") as file:
        state = read_state(file)
        if sum(tensor.size for tensor in state.tensors.values()) > _MOST_TIMES * source.stat().st_size + (1 << 20):
            raise Invalid("its tensors would be far larger than the file: views that repeat a few numbers")
        write_safetensors(state, folder / "converted", given["metadata"])
        count = verify_safetensors(state, folder / "converted")
    return {"tensors": count, "left_out": list(state.left_out), "sandbox": sandbox, "verified": "bit-equal tensors"}


def _main() -> None:
    try:
        said = _converted(json.load(sys.stdin))
    except VallumError as e:
        said = {"error": str(e), "code": e.code}
    except MemoryError:
        said = {"error": "it takes more memory than the sandbox has", "code": "unavailable"}
    sys.stdout.write("\n\x1e" + json.dumps(said))  # after whatever a library printed


if __name__ == "__main__":
    _main()
