"""The engine: no corner of a repository goes unread."""

import pickle
import subprocess

import pytest

from vallum.models.scan import Verdict, scan


class Payload:
    def __reduce__(self):
        return subprocess.call, (["true"],)


@pytest.mark.parametrize("place", [".git/hooks/pre-commit", ".git/objects/aa/bb", ".hidden/x", "a/b/c/weights.bin"])
def test_no_folder_is_passed_over(tmp_path, place):
    file = tmp_path / "model" / place
    file.parent.mkdir(parents=True)
    file.write_bytes(pickle.dumps(Payload()))
    report = scan(tmp_path / "model")
    assert report.verdict is Verdict.BLOCK
    assert any(finding.place.startswith(place) for finding in report.findings)
