"""Plain text passes; what is hidden in it is found."""

import base64
import pickle
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vallum.models.scan import Report, Verdict, scan


class _Harmless:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("harmless",)


def _scan(folder: Path, name: str, content: str | bytes) -> Report:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return scan(folder / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.md", "# A model\n\n```python\nimport torch\nprint(torch.ones(2))\n```\n\n    pip install torch\n"),
        ("LICENSE", "Permission is hereby granted, free of charge, to any person\n" * 20),
        ("vocab.txt", "[PAD]\n[UNK]\nthe\nof\n##ing\n" * 500),
        ("merges.txt", "#version: 0.2\nĠ t\nh e\ni n\n" * 300),
        ("table.csv", "a,b,c\n1,2,3\n4,5,6\n"),
        ("utf16.txt", "words of another encoding".encode("utf-16")),
        ("requirements.txt", "numpy==1.26.4\ntorch>=2.1\n--extra-index-url https://download.pytorch.org/whl/cpu\n"),
    ],
)
def test_ordinary_text_passes(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert _scan(tmp_path, name, content).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "payload",
    [pickle.dumps(_Harmless()), b"PK\x03\x04" + bytes(60), b"\x7fELF" + bytes(80), zlib.compress(b"import os\n" * 40)],
)
@pytest.mark.parametrize("encode", [base64.b64encode, lambda data: data.hex().encode()])
def test_encoded_content_is_followed(tmp_path: Path, payload: bytes, encode: object) -> None:
    report = _scan(tmp_path, "notes.txt", b"see " + encode(payload) + b" there")  # type: ignore[operator]
    assert "hidden-payload" in {finding.technique for finding in report.findings}


def test_text_that_does_not_go_on_as_text(tmp_path: Path) -> None:
    assert _scan(tmp_path, "README.md", b"words " * 2000 + b"\x00\x01").verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        "-f ./wheels",
        "x @ https://github.com/example/x/releases/download/1/x.whl",
        "git+https://github.com/example/x.git",
        "git+ssh://git@gitlab.com/example/x.git",
    ],
)
def test_requirements_from_where_projects_keep_theirs(tmp_path: Path, line: str) -> None:
    assert _scan(tmp_path, "requirements.txt", f"numpy==1.26\n{line}\n").verdict is Verdict.REVIEW


@pytest.mark.parametrize("before", ["numpy==1.26", "git+https://github.com/example/x.git"])
@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://example.org/simple",
        "--index-url http://pypi.org/simple",
        "-i https://pypi.org.example.org/simple",
        "--trusted-host pypi.org",
        "--index-url https://pypi.org/simple --trusted-host pypi.org",
        "--index-url https://pypi.org/simple --extra-index-url https://example.org/simple",
        "git+https://github.com:x@example.org/x.git",
        "-f https://example.org/wheels",
        "x @ https://example.org/x.whl",
        "https://example.org/x-1.0-py3-none-any.whl",
        "git+https://example.org/x.git",
        "git+http://github.com/example/x.git",
    ],
)
def test_requirements_from_elsewhere(tmp_path: Path, line: str, before: str) -> None:
    for name in ("requirements.txt", "conda.yaml"):
        text = f"{before}\n{line}\n" if name.endswith(".txt") else f"- pip:\n  - {before}\n  - {line}\n"
        assert _scan(tmp_path, name, text).verdict is Verdict.BLOCK


def test_markup_with_a_script(tmp_path: Path) -> None:
    assert _scan(tmp_path, "a.svg", "<svg onload='f()'></svg>").verdict is Verdict.REVIEW


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=400), st.text(max_size=300).map(lambda text: text.encode("utf-8", "ignore"))))
def test_noise_never_fails_an_inspector(tmp_path: Path, noise: bytes) -> None:
    report = _scan(tmp_path, "noise", noise)
    assert "scanner-error" not in {finding.technique for finding in report.findings}


@pytest.mark.parametrize("name", ["lightgbm.txt", "lightgbm.json", "xgboost.json", "xgboost-dump.txt"])
def test_models_that_were_trained_pass(name: str) -> None:
    """Five trees each, by lightgbm 4.7 and xgboost 3.2."""
    assert scan(Path(__file__).parent / "trained" / name).findings == ()
