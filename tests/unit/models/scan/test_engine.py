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


@pytest.mark.parametrize(
    ("place", "target", "verdict"),
    [
        ("weights.bin", "/etc/passwd", "block"),
        ("weights.bin", "../../../etc/passwd", "block"),
        ("a/b/weights.bin", "../../../secret", "block"),
        ("a/weights.bin", "../../blobs/" + "a" * 64, "review"),
        ("a/weights.bin", "../../blobs/../" + "a" * 64, "block"),
        ("a/b/weights.bin", "../../other.bin", "review"),
        ("a/weights.bin", "b/../../c", "review"),
        ("folder", "../..", "block"),
    ],
)
def test_a_link_that_leads_out_of_the_repository(tmp_path, place, target, verdict):
    """But for the hub's cache, whose files are links to its store of contents."""
    file = tmp_path / "model" / place
    file.parent.mkdir(parents=True)
    file.symlink_to(target)
    (tmp_path / "model" / "README.md").write_text("# A model\n")
    assert str(scan(tmp_path / "model").verdict) == verdict
