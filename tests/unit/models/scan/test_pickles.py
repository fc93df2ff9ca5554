"""Pickles: what runs something is found in every way of writing it, and what real libraries write passes."""

import base64
import collections
import datetime
import io
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vallum.models.scan.engine import scan_path
from vallum.models.scan.model import Report
from vallum.models.scan.pickles import inspectors
from vallum.models.scan.pickles.policy import Standing, decide_global

_CORPUS = Path(__file__).parent / "corpus" / "benign_pickles.zip"
_relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def scan(tmp_path: Path) -> Any:
    def scan_bytes(content: bytes) -> Report:
        file = tmp_path / "model.bin"
        file.write_bytes(content)
        return scan_path(file, inspectors())

    return scan_bytes


def _techniques(report: Report) -> set[tuple[str, str]]:
    return {(str(f.verdict), f.technique) for f in report.findings}


def _short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text.encode())]) + text.encode()


def _named(module: str, name: str) -> bytes:
    return _short(module) + _short(name) + b"\x93"


_SYSTEM = b"cos\nsystem\n"
_TRUE = b"S'true'\n"


WAYS = {
    "protocol 0": _SYSTEM + b"(" + _TRUE + b"tR.",
    "protocol 0, python 2": b"cposix\nsystem\n(" + _TRUE + b"tR.",
    "inst": b"(" + _TRUE + b"ios\nsystem\n.",
    "obj": b"(" + _SYSTEM + _TRUE + b"o.",
    "newobj": b"\x80\x02" + _SYSTEM + b"(" + _TRUE + b"t\x81.",
    "newobj_ex": b"\x80\x04" + _SYSTEM + b"(" + _TRUE + b"t}\x92.",
    "stack_global": b"\x80\x04" + _named("os", "system") + _short("true") + b"\x85R.",
    "memoised": b"\x80\x04" + _short("system") + b"\x940" + _short("os") + b"\x940h\x01h\x00\x93"
    + _short("true") + b"\x85R.",
    "memo out of order": b"\x80\x04" + _short("x") + b"q\x05" + _short("system") + b"q\x00" + _short("os")
    + b"q\x0100h\x01h\x00\x93" + _short("true") + b"\x85R.",
    "memo overwritten": b"\x80\x04" + _short("dict") + b"q\x000" + _short("eval") + b"q\x000" + _short("builtins")
    + b"h\x00\x93" + _short("1") + b"\x85R.",
    "text memo": b"S'system'\np7\n0S'os'\ng7\n\x93" + _TRUE + b"\x85R.",
    "escaped names": b"S'\\x6f\\x73'\nV\\u0073ystem\n\x93" + _TRUE + b"\x85R.",
    "dup": b"\x80\x04" + _SYSTEM + b"20" + _short("true") + b"\x85R.",
    "dotted": b"\x80\x04" + _named("os", "path.os.system") + _short("true") + b"\x85R.",
    "through a package": b"\x80\x04" + _named("numpy", "testing._private.utils.runstring") + _short("1") + b"}\x86R.",
    "through a class": b"\x80\x04" + _named("sklearn.base", "BaseEstimator.__init__.__globals__") + b".",
    "long": b"\x80\x04" + _short("os") + b"X" + struct.pack("<I", 8 * 100 + 6) + b"path.os." * 100 + b"system\x93"
    + _short("true") + b"\x85R.",
    "result popped": b"\x80\x04" + _SYSTEM + _short("true") + b"\x85R0N.",
    "broken after the call": b"\x80\x04" + _SYSTEM + _short("true") + b"\x85R\xff\xff",
    "no stop": b"\x80\x04" + _SYSTEM + _short("true") + b"\x85R",
    "long frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + _SYSTEM + _short("true") + b"\x85R.",
    "stacked": pickle.dumps([1, 2]) + b"\x80\x02" + _SYSTEM + _TRUE + b"\x85R.",
    "stacked without a header": pickle.dumps([1, 2]) + _SYSTEM + b"(" + _TRUE + b"tR.",
    "getattr": b"\x80\x04" + _named("builtins", "getattr") + _named("builtins", "int") + _short("__new__") + b"\x86)R.",
    "getattr of os": b"\x80\x04" + _named("builtins", "getattr") + _named("numpy", "os") + _short("system") + b"\x86R.",
    "import": b"\x80\x04" + _named("builtins", "__import__") + _short("os") + b"\x85R.",
    "extension": b"\x80\x02\x82\x01" + _TRUE + b"\x85R.",
    "name from a call": b"\x80\x04" + _short("os") + _named("builtins", "str") + _short("system") + b"\x85R\x93.",
    "partial": b"\x80\x04" + _named("functools", "partial") + _named("builtins", "exec") + _short("1") + b"\x86R.",
    "handed to map": b"\x80\x04" + _named("builtins", "map") + _named("builtins", "eval") + b"]\x86R.",
    "getattr handed on": b"\x80\x04" + _named("collections", "Counter") + _named("builtins", "getattr") + b"\x85R.",
    "nested loads": b"\x80\x04" + _named("pickle", "loads") + b"C\x10" + b"cos\nsystem\n(S''\n"[:16] + b"\x85R.",
    "torch bytes": b"\x80\x04" + _named("torch.storage", "_load_from_bytes") + b"C\x1d\x80\x02" + _SYSTEM
    + b"(S'true'\ntR.NNNNNNN"[: 27 - len(_SYSTEM)] + b"\x85R.",
    "build on a class": b"\x80\x04" + _named("numpy", "ndarray") + b"}" + _short("x") + b"Nsb.",
    "distribution": b"\x80\x04" + _named("scipy.stats._continuous_distns", "norm_gen") + b")\x81}"
    + _short("_parse_arg_template") + _short("1") + b"sb.",
    "unknown function": b"\x80\x04" + _named("some_package.tools", "payload") + b")R.",
    "pip": b"\x80\x04" + _named("pip", "main") + b"]\x85R.",
    "after weights": bytes(3000) + b"\x80\x04\x95" + struct.pack("<Q", 24) + _SYSTEM + _short("true") + b"\x85R.",
    "old pickle after weights": bytes(3000) + _SYSTEM + b"(" + _TRUE + b"tR.",
    "thousands of puts": b"\x80\x04" + b"".join(b"Nr" + struct.pack("<I", i * 7) + b"0" for i in range(5000))
    + _SYSTEM + _short("true") + b"\x85R.",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_call_is_found_in_every_way_of_writing_it(way: str, scan: Any) -> None:
    assert scan(WAYS[way]).verdict == "block", scan(WAYS[way])


_DANGEROUS = """
    os:system posix:system nt:system subprocess:Popen subprocess:check_output builtins:eval builtins:exec
    builtins:open __builtin__:eval builtins:compile builtins:__import__ importlib:import_module runpy:run_path
    pty:spawn code:interact pdb:run bdb:Bdb timeit:timeit cProfile:run profile:run webbrowser:open ctypes:CDLL
    socket:socket shutil:rmtree urllib.request:urlopen http.client:HTTPSConnection operator:attrgetter
    operator:methodcaller functools:reduce types:CodeType types:FunctionType sqlite3:connect
    logging.config:dictConfig pydoc:pipepager doctest:debug_script idlelib.run:Executive
    lib2to3.pgen2.pgen:generate_grammar ensurepip:bootstrap venv:create distutils.file_util:write_file site:main
    uuid:_get_command_stdout asyncio.unix_events:_UnixSubprocessTransport multiprocessing.util:spawnv_passfds
    test.support.script_helper:assert_python_ok _osx_support:_read_output numpy.testing._private.utils:runstring
    numpy:load numpy.f2py.crackfortran:param_eval pandas:read_pickle joblib:load torch:load torch.hub:load
    torch.utils.collect_env:run torch.jit.unsupported_tensor_ops:execWrapper torch._inductor.codecache:compile_file
    torch.utils._config_module:ConfigModule.load_config pip:main sklearn.utils._testing:assert_run_python_script
    sklearn.ensemble._forest:Parallel transformers:pipeline setuptools:setup IPython:start_ipython numpy:os.system
    torch.serialization:os.system pickle:loads marshal:loads dill:loads cloudpickle.cloudpickle:_make_function
    pathlib:Path.write_text sys:exit signal:raise_signal gc:get_objects
    """
DANGEROUS = [name.split(":") for name in _DANGEROUS.split()]
CALLS = {
    "REDUCE": lambda m, n: b"\x80\x04" + _named(m, n) + _short("true") + b"\x85R.",
    "GLOBAL": lambda m, n: f"c{m}\n{n}\n(S'true'\ntR.".encode(),
    "INST": lambda m, n: f"(S'true'\ni{m}\n{n}\n.".encode(),
    "OBJ": lambda m, n: f"(c{m}\n{n}\nS'true'\no.".encode(),
    "NEWOBJ": lambda m, n: b"\x80\x04" + _named(m, n) + b")\x81.",
    "NEWOBJ_EX": lambda m, n: b"\x80\x04" + _named(m, n) + b")}\x92.",
}


@pytest.mark.parametrize("opcode", CALLS)
@pytest.mark.parametrize(("module", "name"), DANGEROUS)
def test_dangerous_callables_are_blocked_by_every_calling_opcode(
    module: str, name: str, opcode: str, scan: Any
) -> None:
    report = scan(CALLS[opcode](module, name))
    assert ("block", "pickle-dangerous-global") in _techniques(report)


def test_a_class_that_no_policy_covers_is_for_review(scan: Any) -> None:
    report = scan(b"\x80\x04" + _named("some_package.models", "Forecaster") + b")\x81}b.")
    assert _techniques(report) == {("review", "pickle-unknown-global")}


@pytest.mark.parametrize(
    ("content", "technique"),
    [
        (b"\x80\x04K\x01", "pickle-malformed"),
        (b"\x80\x04K\x01R.", "pickle-malformed"),
        (b"\x80\x04h\x09.", "pickle-malformed"),
        (b"\x80\x04X\xff\xff\xff\xffabc.", "pickle-malformed"),
        (b"\x80\x04K\x01\xff.", "pickle-malformed"),
        (pickle.dumps([1]) + bytes(range(1, 200)), "hidden-payload"),
        (b"\x93NUMPY\x01\x00\x10\x00not a header at ", "malformed"),
    ],
)
def test_what_is_malformed_does_not_pass(content: bytes, technique: str, scan: Any) -> None:
    report = scan(content)
    assert report.verdict != "pass"
    assert technique in {f.technique for f in report.findings}


def test_pickles_in_strings_are_followed(scan: Any) -> None:
    payload = b"\x80\x04" + _SYSTEM + _short("true") + b"\x85R."
    assert scan(pickle.dumps({"weights": payload})).verdict == "block"
    assert scan(pickle.dumps({"weights": zlib.compress(payload * 3)})).verdict == "block"
    assert scan(pickle.dumps({"note": "__import__('os').system('true')"})).verdict == "review"


def test_elements_of_a_joblib_array_are_no_place_to_hide(scan: Any) -> None:
    """joblib reads them as numbers, `pickle.load` as opcodes."""
    with zipfile.ZipFile(_CORPUS) as archive:
        content = archive.read("logistic.joblib")
    assert scan(content).verdict == "pass"
    payload = b"0" + _SYSTEM + _short("true") + b"\x85R."
    at = content.index(b"numpy_array_alignment_bytes")
    start = content.index(b"b", at + 28) + 1  # the BUILD of the first wrapper, and its padding
    hidden = content[:start] + payload + content[start + len(payload) :]
    assert scan(hidden).verdict != "pass"


def _numpy(descriptor: str, shape: str, body: bytes) -> bytes:
    header = f"{{'descr': {descriptor}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def test_numpy_arrays(scan: Any) -> None:
    assert scan(_numpy("'<f8'", "(2, 2)", bytes(32))).verdict == "pass"
    assert "size-lie" in {f.technique for f in scan(_numpy("'<f8'", "(9999999999, 2)", bytes(32))).findings}
    assert scan(_numpy("'<f8'", "(2,)", bytes(16) + b"more")).verdict != "pass"
    assert _techniques(scan(_numpy("'|O'", "(1,)", pickle.dumps([1])))) == {("review", "object-array")}
    assert ("block", "object-array") in _techniques(scan(_numpy("'|O'", "(1,)", WAYS["protocol 0"])))
    assert ("block", "object-array") in _techniques(scan(_numpy("[('a', '<f4'), ('b', 'O')]", "(1,)", WAYS["inst"])))


def _benign() -> Iterator[str]:
    with zipfile.ZipFile(_CORPUS) as archive:
        yield from (name for name in archive.namelist() if not name.endswith((".zlib", ".gzip", ".xz", ".bz2")))


@pytest.mark.parametrize("name", list(_benign()))
def test_what_real_libraries_write_passes(name: str, scan: Any) -> None:
    with zipfile.ZipFile(_CORPUS) as archive:
        report = scan(archive.read(name))
    assert report.verdict == "pass", report.findings


@pytest.mark.parametrize("name", ["state-legacy.pt", "forest.joblib", "histogram.pkl", "floats.npy"])
def test_truncated_models_do_not_pass(name: str, scan: Any) -> None:
    with zipfile.ZipFile(_CORPUS) as archive:
        content = archive.read(name)
    for size in range(12, len(content), max(1, len(content) // 25)):
        assert scan(content[:size]).verdict != "pass", size


def test_ten_megabytes_cost_less_than_two_seconds(scan: Any) -> None:
    """Loading them takes a tenth of a second on an ordinary machine; a busy one counts what is not ours, too."""
    words = {f"word{i}": i for i in range(500_000)}
    numbers = [list(range(1_000)) for _ in range(1_000)] + [float(i) for i in range(500_000)]
    for content in (
        pickle.dumps(words),
        pickle.dumps(numbers),
        pickle.dumps(dict(list(words.items())[:200_000]), protocol=0),
    ):
        loading = min(_seconds(lambda given=content: pickle.loads(given)) for _ in range(3))
        assert any(_seconds(lambda given=content: _passes(scan, given)) < 20 * loading for _ in range(5))


def _passes(scan: Any, content: bytes) -> None:
    assert scan(content).verdict == "pass"


def _blocks(scan: Any, content: bytes) -> None:
    assert scan(content).verdict == "block"


def _seconds(work: Callable[[], Any]) -> float:
    began = process_time()
    work()
    return process_time() - began


def test_the_slowest_opcodes_stay_linear(scan: Any) -> None:
    """They cost what reading and keeping them does, a few times over; what grew with their square would take hours."""
    for opcodes in (b"N0", b"(1", b"N\x94", b"]", b")\x85"):
        data = b"\x80\x04" + opcodes * 250_000 + _SYSTEM + _short("true") + b"\x85R."
        reading = min(_seconds(lambda data=data: list(pickletools.genops(data))) for _ in range(2))
        assert any(_seconds(lambda data=data: _blocks(scan, data)) < 3 * reading for _ in range(3))


_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=15)
_leaves |= st.datetimes(timezones=st.just(datetime.UTC)) | st.dates() | st.sets(st.integers(), max_size=3)
_things = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.lists(st.tuples(st.text(max_size=4), inner), max_size=3).map(collections.OrderedDict)
    ),
    max_leaves=20,
)


@_relaxed
@given(_things, st.integers(0, 5))
def test_plain_data_passes_in_every_protocol(scan: Any, thing: Any, protocol: int) -> None:
    report = scan(pickle.dumps(thing, protocol=protocol))
    assert report.verdict == "pass", report.findings


@_relaxed
@given(st.binary(min_size=1, max_size=300), st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"\x93NUMPY\x01\x00"]))
def test_noise_neither_crashes_nor_passes_unread(scan: Any, noise: bytes, start: bytes) -> None:
    report = scan(start + noise)
    assert "scanner-error" not in {f.technique for f in report.findings}
    if report.verdict == "pass":
        pickle.Unpickler(io.BytesIO(start + noise)).load()  # noise that passes is plain data: nothing else is in it


@_relaxed
@given(st.sampled_from(sorted(WAYS)), st.data())
def test_any_altered_byte_of_a_payload_is_no_way_past(scan: Any, way: str, data: Any) -> None:
    content = bytearray(WAYS[way])
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    report = scan(bytes(content))
    assert "scanner-error" not in {f.technique for f in report.findings}


def test_names_are_judged_whole() -> None:
    allowed = ["numpy.core.multiarray _reconstruct", "numpy._core.multiarray scalar", "collections OrderedDict"]
    allowed += ["sklearn.ensemble._forest RandomForestClassifier", "torch._utils _rebuild_tensor_v2"]
    for name in allowed:
        assert decide_global(*name.split(" ")).standing is Standing.ALLOWED, name
    refused = [
        "numpy.core.multiarray _reconstruct.__globals__",
        "sklearn.ensemble._forest threading.Thread",
        "оs system",
    ]
    for name in refused:
        assert decide_global(*name.split(" ")).standing >= Standing.REFUSED, name


def test_encoded_sources_do_not_pass(scan: Any) -> None:
    source = b"import os\nos.system('true')\n"
    packed = base64.b64encode(zlib.compress(source))
    content = b"\x80\x04" + _named("builtins", "exec") + b"C" + bytes([len(packed)]) + packed + b"\x85R."
    assert scan(content).verdict == "block"


def test_numpy_headers_and_shapes_that_deceive(scan: Any) -> None:
    for descriptor, shape in (("__import__('os').system('id')", "(2,)"), ("'<f8'", "(-1,)"), ("'<f8'", "(1 << 3,)")):
        expected = "review" if "<<" in shape else "block"
        assert scan(_numpy(descriptor, shape, bytes(16))).verdict == expected
    assert scan(_numpy("'<f8'", "(9999999999, 2)", bytes(32))).verdict == "block"


@pytest.mark.parametrize(
    "call", [b"count\n(tR", b"count\n(I5\ntR", b"repeat\n(I5\ntR", b"repeat\n(I5\nI99999999999\ntR"]
)
def test_what_never_ends(scan: Any, call: bytes) -> None:
    for consumer in (b"list", b"set", b"sum"):
        assert scan(b"cbuiltins\n" + consumer + b"\n(citertools\n" + call + b"tR.").verdict == "block"


def _arguments(way: bytes) -> bytes:
    """As the trainer saves them: an object made empty, whose state has enumerations made of a word."""
    name = b"ctransformers.training_args\nTrainingArguments\n"
    kind = b"ctransformers.trainer_utils\nSchedulerType\n(Vlinear\ntR"
    return b"\x80\x02" + name + way + b"}(Voutput_dir\nV/home/me/out\nVlr_scheduler_type\n" + kind + b"ub."


def test_settings_of_a_trainer(scan: Any) -> None:
    assert scan(_arguments(b")\x81")).findings == ()
    for way in (b"(V/tmp/x\ntR", b")R", b"(tR"):
        assert scan(_arguments(way)).verdict == "block"


@pytest.mark.parametrize(
    "call",
    [
        b"cbuiltins\nbytearray\n(I99999999999\ntR",
        b"cbuiltins\nbytes\n(I99999999999\ntR",
        b"cbuiltins\nlist\n(cbuiltins\nrange\n(I99999999999\ntRtR",
        b"cbuiltins\nset\n(cbuiltins\nrange\n(I-99999999999\nI0\ntRtR",
    ],
)
def test_what_takes_as_much_as_a_number_says(scan: Any, call: bytes) -> None:
    assert scan(call + b".").verdict == "block"
    small = call.replace(b"99999999999", b"999")
    assert scan(small + b".").verdict == "pass"
