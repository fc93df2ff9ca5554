"""More documents, clean and injected, and clean ones as the guard reads them: what the data channel alone learns from.

Clean documents of other hands come from the packages that the training itself has installed, pinned by digest: their
descriptions, docstrings and code tell readers what to do on every page, and none of it speaks to a model.
"""

import ast
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import metadata, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

from corpus import HERE, MAX_CHARS, Text, inject, is_kept_back, share_of, vary, written
from grammar import Grammar
from packages import locked_documents, plain_name
from vallum.guards.injection.views import views

__all__ = ["JUDGING_PACKAGES", "calibrating_documents", "more_documents", "package_documents"]

TRAINING_PACKAGES = (
    "sklearn", "sqlalchemy", "click", "rich", "typer", "starlette", "jinja2", "cryptography", "pygments", "narwhals",
    "joblib", "markdown_it", "fido2",
)  # fmt: skip
JUDGING_PACKAGES = ("alembic", "anyio", "dbos", "prometheus_client", "psycopg")  # for figures, never for training
_DOCSTRINGS, _FILES, _DESCRIPTIONS = 400, 100, 6  # excerpts of one package
_ANSWERS, _CODE_PAIRS = 2500, 4  # answers with code in them; how many of them each note with code is put into
_CODE_LINES = 2, 14
_LEAST, _MOST = 300, 2500  # characters of an excerpt
_PAPER_TIMES, _ORDER_PAIRS = 8, 10
_REPORT_TIMES, _ASIDE_PAIRS = 2, 3  # of more, what else is told to machines, and asked of them, would be found less
_READ, _READ_SHARE = 8000, 1 / 2  # clean documents that are shown as they are read; of these from packages


def more_documents(rows: Sequence[Text], seed: int) -> Iterator[Text]:
    """Pairs of documents, and harmless ones. `rows` give carriers."""
    chance = random.Random(seed)
    packages = package_documents(TRAINING_PACKAGES, seed)
    papers, documents = written("papers"), written("documents")
    carriers = [row.text for row in rows if row.label == 0 and row.data]
    answers = _answers(chance)
    for answer in answers:
        yield Text(answer, 0, "made-answers", True)
    for note in (note for note in written("notes") + written("orders") if "\n" in note and "import" in note):
        for _ in range(_CODE_PAIRS):
            injected = inject(chance.choice(answers), vary(note, chance), chance, "written-orders")
            yield replace(injected, made_of=(note,))
    for paper in papers:
        for _ in range(_PAPER_TIMES):
            yield Text(paper, 0, "written-papers", True, None, (paper,))
    yield from _with_pairs("orders", _ORDER_PAIRS, (papers, documents, carriers, packages, answers), chance)
    reports = written("reports")  # what many hands wrote: documents of all kinds, and orders in the voice of such
    for report in reports:
        for _ in range(_REPORT_TIMES):
            yield Text(report, 0, "written-papers", True, None, (report,))
    yield from _with_pairs("asides", _ASIDE_PAIRS, (papers, documents, carriers, packages, reports), chance)
    for document in packages:
        yield Text(document, 0, "package-documents", True)
    for _ in range(_READ):
        kind = packages if chance.random() < _READ_SHARE else chance.choice((documents, papers, carriers))
        document = chance.choice(kind)
        for view in views(_excerpt(document, chance)):
            yield Text(view.text, 0, "read-documents", True, None, (document,))
    others = locked_documents(_is_training, seed=8)
    for document in chance.sample(others, min(len(others), _OTHERS)):
        at = chance.randrange(max(1, len(document) - _OTHERS_CHARS))
        yield Text(document[at : at + _OTHERS_CHARS], 0, "locked-documents", True)


def _with_pairs(name: str, pairs: int, clean: Sequence[Sequence[str]], chance: random.Random) -> Iterator[Text]:
    """Written orders, each by itself and put into so many documents of these kinds."""
    for order in written(name):
        yield Text(order, 1, "written-orders", True, (0, len(order)), (order,))
        for _ in range(pairs):
            document = chance.choice(chance.choice(clean))
            injected = inject(document[:MAX_CHARS], vary(order, chance), chance, "written-orders")
            yield replace(injected, made_of=(order, document))


def calibrating_documents() -> dict[str, list[Text]]:
    """By kind, documents that the head has not seen, clean and with orders that it has not seen either.

    What a head says of texts that it was trained on, it says too surely for a threshold. Asides are left out: few of
    them address a machine, and with them that it is addressed would tell nothing.
    """
    chance = random.Random(6)
    orders = [text for name in ("notes", "orders", "requests") for text in written(name) if is_kept_back(text)]
    clean = {
        "packages": locked_documents(_is_calibrating, seed=6),
        "written": [text for name in ("documents", "papers") for text in written(name) if is_kept_back(text)],
    }
    found = {}
    for kind, texts in clean.items():
        found[kind] = [Text(text, 0, kind, True) for text in chance.sample(texts, min(len(texts), _CALIBRATING))]
        found[kind] += [inject(chance.choice(texts)[:MAX_CHARS], vary(order, chance), chance, kind) for order in orders]
    return found


def _is_calibrating(package: str) -> bool:
    used = _named(TRAINING_PACKAGES) + _named(JUDGING_PACKAGES)
    return share_of(package, _CALIBRATING_SHARE) == 0 and not package.startswith(used)


def _is_training(package: str) -> bool:
    return share_of(package, _CALIBRATING_SHARE) != 0 and not package.startswith(_named(JUDGING_PACKAGES))


@cache
def _named(modules: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(plain_name(name) for module in modules for name in _distributions()[module])


_CALIBRATING, _CALIBRATING_SHARE = 1500, 5  # documents of a kind; of one of so many packages
_OTHERS, _OTHERS_CHARS = 2500, 300  # short excerpts of all others: of more, prose would seem the worse beside them


@cache
def package_documents(names: tuple[str, ...], seed: int) -> list[str]:
    """Docstrings and code of installed packages, cut to the length of what tools return."""
    chance = random.Random(seed)
    found = []
    for name in names:
        files = _sources(name)
        docstrings = [text for file in files for text in _docstrings(file)]
        found += [_excerpt(text, chance) for text in chance.sample(docstrings, min(len(docstrings), _DOCSTRINGS))]
        found += [_excerpt(text, chance) for text in chance.sample(files, min(len(files), _FILES))]
        description = str(metadata(_distributions()[name][0]).get_payload())
        found += [_excerpt(description, chance) for _ in range(_DESCRIPTIONS)]
    return found


_distributions = cache(packages_distributions)


def _answers(chance: random.Random) -> list[str]:
    grammar = Grammar(HERE / "answers.grammar")
    files = [source.split("\n") for name in TRAINING_PACKAGES for source in _sources(name)[:_FILES]]
    posts = (grammar.expand("post", chance) for _ in range(_ANSWERS))
    return [_CODE.sub(lambda _: _snippet(chance.choice(files), chance), post) for post in posts]


_CODE = re.compile(r"\bCODE\b")


def _snippet(lines: Sequence[str], chance: random.Random) -> str:
    """Some lines of a file that are code, as far to the left as they go."""
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    at = chance.randrange(max(1, len(code) - _CODE_LINES[1]))
    return dedent("\n".join(code[at : at + chance.randint(*_CODE_LINES)]))


@cache
def _sources(name: str) -> list[str]:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{name} is not installed: install requirements.lock and requirements-training.lock")
    folder = Path(spec.submodule_search_locations[0])
    files = (file for file in sorted(folder.rglob("*.py")) if "tests" not in file.parts)
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    return [text for text in texts if len(text) >= _LEAST]


def _docstrings(source: str) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))
    return [text for text in found if text and len(text) >= _LEAST]


def _excerpt(text: str, chance: random.Random) -> str:
    length = chance.randint(_LEAST, _MOST)
    at = chance.randrange(max(1, len(text) - length))
    return text[at : at + length]
