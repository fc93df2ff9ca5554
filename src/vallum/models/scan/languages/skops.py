"""skops' tree of nodes: each names the class, function, method or type that it makes, and is judged as a pickle is.

Source: skops.io, `get_tree` and the `*Node` classes. skops itself asks for trust in what it does not know, and has been
shown to trust too much (an operator that reads attributes, a method of any object): a node that makes what a pickle may
not make is no better for being JSON.
"""

from vallum.models.scan.model import Verdict
from vallum.models.scan.pickles.policy import Standing, decide_global
from vallum.models.scan.port import Scan

__all__ = ["judge_skops_node"]

# What a node says of itself, where the function or method that it stands for is in its content.
_KINDS = frozenset(
    f"builtins.{name}"
    for name in ("function", "method", "builtin_function_or_method", "method-wrapper", "type", "NoneType", "bytearray")
) | {"functools.partial", "numpy.ufunc", "collections.defaultdict"}
_LOADERS = frozenset(
    """BytesNode BytearrayNode CachedNode DictNode DefaultDictNode FunctionNode JsonNode ListNode LossNode MethodNode
    NdArrayNode MaskedArrayNode ObjectNode OperatorFuncNode PartialNode RandomStateNode RandomGeneratorNode ReduceNode
    SetNode SliceNode SparseMatrixNode TreeNode TupleNode TypeNode DatetimeNode DTypeNode ABCNode StrNode
    CythonNode _DictWithDeprecatedKeysNode SGDNode QuantileForestNode""".split()  # noqa: SIM905
)
_CALLS = frozenset(("FunctionNode", "MethodNode", "PartialNode", "OperatorFuncNode", "ReduceNode"))


def judge_skops_node(node: dict[str, object], place: str, scan: Scan) -> None:
    """One node, or the content of one that names a function. What it contains comes as nodes of their own."""
    loader = node.get("__loader__")
    if "__loader__" in node and (not isinstance(loader, str) or loader not in _LOADERS):
        text = f"a node of a kind that skops is not known to have, `{str(loader)[:80]}`"
        scan.report(Verdict.REVIEW, "config-executes", place, text)
    for module, name in (("__module__", "__class__"), ("module_path", "function")):
        if module in node and name in node:
            _judge(node[module], node[name], name == "function" or loader in _CALLS, place, scan)
    content = node.get("content")
    if loader == "MethodNode" and isinstance(content, dict):
        method = content.get("func")
        if not isinstance(method, str) or not method.isidentifier() or method.startswith("__"):
            text = f"a method, `{str(method)[:80]}`, from which everything else is reached"
            scan.report(Verdict.BLOCK, "config-executes", place, text)


def _judge(module: object, name: object, calls: bool, place: str, scan: Scan) -> None:
    if not (isinstance(module, str) and isinstance(name, str)):
        scan.report(Verdict.BLOCK, "config-executes", place, "a name that is made while loading")
        return
    full = f"{module}.{name}"
    standing = decide_global(module, name).standing
    if full in _KINDS or standing is Standing.ALLOWED:
        return
    if standing >= Standing.REFUSED or (standing is Standing.CONDITIONAL and calls):
        text = f"a node that makes or calls `{full[:120]}`, which a pickle may not"
        scan.report(Verdict.BLOCK, "config-executes", place, text)
    elif standing is Standing.UNKNOWN_FUNCTION and calls:
        scan.report(
            Verdict.REVIEW, "config-executes", place, f"a node that calls `{full[:120]}`, which no policy knows"
        )
