"""Keys of a configuration that name code, whatever language the configuration is written in."""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import re

from vallum.models.scan.languages.dotted import DOTTED, judge_dotted, leads_to_harm
from vallum.models.scan.languages.shell import harm_in_commands
from vallum.models.scan.model import Verdict
from vallum.models.scan.pickles.policy import is_standard
from vallum.models.scan.port import Scan

__all__ = ["PACKAGE_INDEX", "judge_setting"]

_CALLED = frozenset(
    """_target_ target class_path entry_point entrypoint handler callable factory python_function python_class
    import_path model_class tokenizer_class_path init_fn callback hook loader builder constructor function func fn
    py/function py/type py/object py/reduce type impl plugin custom_handler preprocessor postprocessor""".split()
)
_ALWAYS_CALLED = frozenset("_target_ class_path py/function py/object py/type impl".split())
_FILES_OF_CODE = frozenset("entry_point entrypoint handler python_model custom_handler script".split())
_COMMANDS = frozenset(
    "command cmd shell run script scripts preinstall install postinstall prepare entrypoint entry_point exec hook pre_hook post_hook".split()
)
_OF_GIT = frozenset("fsmonitor sshcommand askpass hookspath gitproxy textconv uploadpack receivepack".split())
_OF_PIP = frozenset(("index-url", "extra-index-url", "trusted-host"))
PACKAGE_INDEX = re.compile(
    r"https://(?:pypi\.org|files\.pythonhosted\.org|download\.pytorch\.org|pypi\.nvidia\.com|data\.pyg\.org)(?:/|\Z)"
)
_OPTION = re.compile(r"(?:-u\b|--upload-pack|--receive-pack|--exec|--config|-c\s|-oProxyCommand)|(?:ext|fd)::")
_LOADERS = re.compile(
    r"mlflow\.(?:sklearn|xgboost|lightgbm|catboost|pytorch|tensorflow|keras|onnx|spacy|statsmodels|prophet|pmdarima|spark|h2o|transformers|sentence_transformers|paddle|fastai|diviner|langchain|openai)\Z"
)


def judge_setting(key: str, value: object, place: str, scan: Scan) -> None:
    """Reports what one key and its plain value ask for; nothing for what asks for nothing."""
    name = key.strip().rsplit(".", 1)[-1].lower()
    if name == "trust_remote_code" and str(value).lower() in ("true", "1", "yes", "on"):
        scan.report(Verdict.REVIEW, "remote-code", place, "it asks that the repository's own code be run")
    if not isinstance(value, str) or not value or len(value) > 4096:
        return
    value = value.strip().strip("'\"").strip()
    known = all(map(PACKAGE_INDEX.match, value.split() or [value]))  # pip takes several in one value
    if name.replace("_", "-") in _OF_PIP and not known and ("://" in value or "host" in name):
        scan.report(
            Verdict.BLOCK, "remote-code", place, f"dependencies from elsewhere than the package index: `{value[:120]}`"
        )
        return
    if name in ("url", "path") and _OPTION.match(value):
        scan.report(Verdict.BLOCK, "config-executes", place, f"an option in place of an address: `{value[:120]}`")
        return
    if name in _OF_GIT and value.lower() not in ("true", "false", "yes", "no", "on", "off", "0", "1"):
        scan.report(Verdict.BLOCK, "config-executes", place, f"a program that git runs by itself: `{value[:120]}`")
        return
    if name == "loader_module":
        if leads_to_harm(value) or is_standard(value):
            scan.report(Verdict.BLOCK, "config-executes", place, judge_dotted(value)[1])
        elif not _LOADERS.match(value):
            scan.report(
                Verdict.REVIEW, "config-executes", place, f"its loader is `{value[:120]}`, which no policy knows"
            )
        return
    if name in _COMMANDS and (harm := harm_in_commands(value)):
        scan.report(Verdict.BLOCK, "config-executes", place, f"a command that {harm}")
    elif name in _FILES_OF_CODE and re.search(r"\.(?:py|sh|js|so|dll|exe|pkl|pickle)\b", value):
        scan.report(Verdict.REVIEW, "config-executes", place, f"it names a file of code, `{value[:120]}`")
    elif name == "_target_" or (DOTTED.match(value) and (name in _CALLED or name.endswith(("_fn", "_class_path")))):
        verdict, why = judge_dotted(value)
        if verdict is Verdict.BLOCK or (verdict is Verdict.REVIEW and name in _ALWAYS_CALLED):
            scan.report(verdict, "config-executes", place, why)
    elif DOTTED.match(value) and re.match(r"(?:os|posix|nt|subprocess|builtins|runpy|importlib)\.[a-z_]\w*\Z", value):
        scan.report(Verdict.REVIEW, "config-executes", place, f"it names `{value[:120]}`, which runs or imports")
