"""What only several files together show."""

import json
from pathlib import Path

import pytest

from vallum.models.scan import Verdict, scan


def _write(folder: Path, **files: object) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_an_ordinary_repository_passes(tmp_path: Path) -> None:
    _write(
        tmp_path,
        config__json={"architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu"},
        generation_config__json={"eos_token_id": 2, "do_sample": True, "temperature": 0.6},
        special_tokens_map__json={"pad_token": "[PAD]", "unk_token": {"content": "<unk>", "lstrip": False}},
        tokenizer_config__json={
            "tokenizer_class": "BertTokenizer",
            "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        },
        vocab__json={f"token{n}": n for n in range(1000)},
        merges__txt="#version: 0.2\na b\nc d\n" * 100,
        README__md="---\nlicense: apache-2.0\n---\n# Model\n\n```python\nfrom transformers import AutoModel\n```\n",
        LICENSE="Licensed to whom it concerns.\n" * 30,
    )
    assert scan(tmp_path).findings == ()


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        (None, Verdict.BLOCK),
        ("import torch\nclass X(torch.nn.Module): ...\n", Verdict.REVIEW),
        ("import os\nos.system('id')\n", Verdict.BLOCK),
    ],
)
def test_auto_map_is_judged_by_the_code_it_names(tmp_path: Path, source: str | None, verdict: Verdict) -> None:
    _write(tmp_path, config__json={"auto_map": {"AutoModel": "modeling_x.X"}}, README__md="# Model\n")
    if source is not None:
        _write(tmp_path, modeling_x__py=source)
    assert scan(tmp_path).verdict is verdict


def test_names_that_read_alike(tmp_path: Path) -> None:
    _write(tmp_path, config__json={}, Config__json={})
    assert "archive-deceptive" in {finding.technique for finding in scan(tmp_path).findings}
    (tmp_path / "con\u200bfig.txt").write_text("x")
    assert len([f for f in scan(tmp_path).findings if f.technique == "archive-deceptive"]) == 2


def test_an_index_that_names_what_is_not_there(tmp_path: Path) -> None:
    _write(tmp_path, README__md="# Model\n")
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"w": "model-00001-of-00002.safetensors"}})
    )
    assert scan(tmp_path).verdict is Verdict.REVIEW
