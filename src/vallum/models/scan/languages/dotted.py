"""A dotted name that a configuration asks to import and call: what it leads to, judged by its parts."""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import re

from vallum.models.scan.model import Verdict
from vallum.models.scan.pickles.policy import is_standard, is_tool

__all__ = ["DOTTED", "judge_dotted", "leads_to_harm"]

DOTTED = re.compile(r"[A-Za-z_]\w*(?:[.:][A-Za-z_]\w*)+\Z")

_HARMFUL_MODULES = frozenset(
    """os posix nt subprocess _posixsubprocess builtins __builtin__ __builtins__ importlib _frozen_importlib imp runpy pty
    socket _socket shutil sys ctypes _ctypes cffi pickle _pickle cPickle cloudpickle dill marshal code codeop pdb bdb
    timeit cProfile profile trace doctest urllib urllib2 urllib3 http ftplib smtplib telnetlib webbrowser requests httpx
    aiohttp pip setuptools distutils ensurepip venv zipimport pkgutil site commands popen2 multiprocessing _winapi winreg
    paramiko fabric pexpect plumbum sh invoke antigravity asyncio signal atexit mmap fcntl gc inspect zipfile tarfile
    tempfile pydoc idlelib lib2to3 test concurrent threading _thread sched platform uuid linecache fileinput glob
    pathlib io _io sqlite3 logging types""".split()
)
_HARMFUL_WITHIN = frozenset(
    """os posix nt subprocess builtins __builtins__ importlib runpy pty socket shutil sys ctypes marshal pickle
    cloudpickle dill pip webbrowser""".split()
)
_HARMFUL_NAMES = frozenset(
    """system popen Popen exec eval execfile run_path run_module run_module_as_main check_output check_call getoutput
    getstatusoutput import_module __import__ rmtree get_file load_library load_op_library load_file_system_library
    urlopen urlretrieve download_url_to_file runstring rundocs load_inline _run_command runctx runcode runsource
    read_pickle unsafe_load full_load unsafe_load_all resolve_name getattr setattr delattr attrgetter methodcaller
    partial partialmethod reduce compile open exec_command execute_command shell_command py_func
    numpy_function eager_py_func write_file read_file getcode pil_open locate get_method get_class get_object""".split()
)
_HARMFUL_PATHS = (
    "torch.load", "torch.serialization", "torch.hub", "torch.utils.cpp_extension", "torch.utils.model_zoo",
    "torch.distributed.rpc", "torch.package", "torch._dynamo", "torch._inductor", "torch.jit.unsupported",
    "torch.ops.load", "torch.jit.load", "torch.jit.CompilationUnit", "numpy.fromfile", "numpy.memmap", "sklearn.datasets.load_files", "skops.io.load", "torch.classes.load", "torch.utils.collect_env", "numpy.load", "numpy.f2py", "numpy.testing",
    "numpy.distutils", "joblib.load", "pandas.read_pickle", "pandas.eval", "jsonpickle", "shelve", "yaml.load", "yaml.unsafe_load",
    "keras.saving.load", "keras.models.load", "keras.src.saving", "keras.src.utils.file_utils", "keras.utils.get_file",
    "keras.config.enable_unsafe", "tensorflow.io", "tensorflow.raw_ops", "tensorflow.python.ops.gen_io_ops",
    "tensorflow.load", "tf.io", "tf.raw_ops", "hydra.utils", "hydra._internal", "mlflow.projects", "mlflow.run",
    "nltk.data", "nltk.app", "sklearn.externals", "sklearn.datasets.fetch_openml", "scipy.io.loadmat", "jinja2.nativetypes",
)  # fmt: skip
# Of the standard library: what computes, and touches nothing.
_PLAIN_MODULES = frozenset(
    """builtins collections datetime decimal fractions math cmath statistics random string itertools enum time typing
    dataclasses numbers zoneinfo copy operator functools calendar re json test types array heapq bisect""".split()
)
_HARMLESS_BUILTINS = frozenset(
    "dict list tuple set frozenset int float str bool bytes bytearray complex range slice object".split()
)
_OF_TESTS = re.compile(r"support|libregrtest|test_\w+|regrtest|script_helper")
_KNOWN = frozenset(
    """torch torchvision torchaudio torchmetrics lightning pytorch_lightning transformers diffusers timm peft keras
    tensorflow tf_keras sklearn scipy numpy pandas xgboost lightgbm catboost sentence_transformers tokenizers datasets
    accelerate monai collections datetime decimal fractions skops statsmodels imblearn category_encoders
    quantile_forest monotonic nemo speechbrain lightning_fabric segmentation_models_pytorch open_clip""".split()
)


def leads_to_harm(dotted: str) -> bool:
    """Whether it is, or goes through, what runs, opens, fetches or imports."""
    path = dotted.strip().replace(":", ".").replace("/", ".").strip(".")
    parts = path.split(".")
    if parts[0] in ("builtins", "__builtin__") and len(parts) == 2 and parts[1] in _HARMLESS_BUILTINS:
        return False
    if parts[0] == "test" and len(parts) > 1 and _OF_TESTS.fullmatch(parts[1]):
        return True  # Python's own tests, which start interpreters
    if parts[0] in ("types", "logging", "pathlib", "io", "uuid", "threading", "inspect", "test", "asyncio"):
        # Names of projects too ("test.models.Net"), or mostly harmless: the last part decides.
        acts = parts[0] not in ("test", "types") and not parts[-1][:1].isupper() and len(parts) > 1
        if ".".join(parts) == "logging.getLogger":
            return False
        if parts[0] in ("pathlib", "uuid", "logging", "test", "inspect") or len(parts) == 1:
            return acts or parts[-1] in _HARMFUL_NAMES
        return (
            acts
            or parts[-1] in _HARMFUL_NAMES
            or parts[-1]
            in (
                "FunctionType",
                "CodeType",
                "open_code",
                "create_subprocess_shell",
                "create_subprocess_exec",
                "FileIO",
            )
        )
    if len(parts) > 1 and is_standard(parts[0]) and parts[0] not in _PLAIN_MODULES and not parts[-1][:1].isupper():
        return ".".join(parts) != "logging.getLogger"  # its functions act; a model's configuration needs none
    return (
        is_tool(parts[0])
        or parts[0] in _HARMFUL_MODULES
        or any(part in _HARMFUL_WITHIN for part in parts[1:])
        or any(part.startswith("__") and part.endswith("__") for part in parts)
        or (len(parts) > 1 and parts[-1] in _HARMFUL_NAMES)
        or (len(parts) == 1 and parts[0] in ("exec", "eval", "compile", "open", "__import__", "getattr"))
        or any(
            path == known or path.startswith(known + ".") or path.startswith(known + "_") for known in _HARMFUL_PATHS
        )
    )


def judge_dotted(dotted: str) -> tuple[Verdict, str]:
    """The verdict on a name that will be imported and called, and what to say of it."""
    shown = dotted[:120]
    if leads_to_harm(dotted):
        return Verdict.BLOCK, f"it asks for `{shown}`, which runs, opens, fetches or imports"
    path = dotted.strip().replace(":", ".")
    last = path.rsplit(".", 1)[-1]
    if path.split(".", 1)[0] in _KNOWN and (
        last[:1].isupper() or ".functional." in path or path.split(".")[0] == "numpy"
    ):
        return Verdict.PASS, f"`{shown}` is a class of a known library"
    if path.split(".", 1)[0] == "builtins":
        return Verdict.PASS, f"`{shown}` is a plain type"
    return Verdict.REVIEW, f"it asks for `{shown}`, which no policy knows"
