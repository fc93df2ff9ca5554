"""A set of Cedar policies, parsed once with its schema; new ones are parsed in a child process first.

Cedar's parser and validator are native code that meets text somebody wrote. A child meets it before the server
does: if it dies or does not answer in time, the policies are refused and the server has not noticed.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources

import cedarpy

from vallum.kernel.cedar.syntax import PolicyRefused, check_bounds, policy_texts
from vallum.kernel.errors import Unavailable

__all__ = ["PolicySet", "check_policies", "completed", "shipped_policies", "shipped_schema", "shipped_set"]

_BOUNDS = "bounds.cedar"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}\.cedar")
_CHECK_SECONDS = 20  # an order above what the largest accepted set takes on a busy machine


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Parsed policies in force or to be. `digest` names exactly these files and this schema."""

    files: Mapping[str, str]
    schema_text: str
    digest: str
    policies: cedarpy.PolicySet
    schema: cedarpy.Schema

    @classmethod
    def parse(cls, files: Mapping[str, str], schema_text: str) -> "PolicySet":
        """Parse text that `check_policies` accepted. Raises PolicyRefused."""
        check_bounds(files)
        try:
            policies = cedarpy.PolicySet.from_str(join_files(files))
            schema = cedarpy.Schema.from_str(schema_text)
        except ValueError as e:
            raise PolicyRefused(f"the policies do not parse: {e}") from e
        return cls(dict(files), schema_text, digest_of(files, schema_text), policies, schema)

    def texts(self) -> dict[str, str]:
        """Each policy's own text by its `@id`."""
        return policy_texts(self.files)


@cache
def shipped_set() -> PolicySet:
    """The policies that Vallum ships, parsed once in a process: a set and what it was parsed to do not change."""
    return PolicySet.parse(shipped_policies(), shipped_schema())


def completed(files: Mapping[str, str]) -> dict[str, str]:
    """A whole set: with the shipped bounds, which no set leaves out or words otherwise. Raises PolicyRefused."""
    bounds = shipped_policies()[_BOUNDS]
    if files.get(_BOUNDS, bounds) != bounds:
        raise PolicyRefused(f"{_BOUNDS} is part of every set and cannot be changed")
    for name in files:
        if _FILE_NAME.fullmatch(name) is None:
            raise PolicyRefused(f"{name[:80]!r}: a file of policies is named like roles.cedar")
    return {**files, _BOUNDS: bounds}


def join_files(files: Mapping[str, str]) -> str:
    return "\n".join(files[name] for name in sorted(files))


def check_policies(files: Mapping[str, str], schema_text: str) -> None:
    """Bound, parse and validate in a child process. Raises PolicyRefused, or Unavailable when no child runs."""
    check_bounds(files)
    question = json.dumps({"policies": join_files(files), "schema": schema_text}).encode()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "vallum.kernel.cedar.check"],
            input=question,
            capture_output=True,
            timeout=_CHECK_SECONDS,
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},  # none of the server's secrets
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise PolicyRefused(f"checking the policies took longer than {_CHECK_SECONDS} seconds") from e
    except OSError as e:
        raise Unavailable("no process could be started to check the policies; try again") from e
    if done.returncode != 0:
        raise PolicyRefused("the parser crashed on these policies")
    problems = json.loads(done.stdout)
    if problems:
        raise PolicyRefused("the policies have problems:\n" + "\n".join(f"  - {p}" for p in problems))


def digest_of(files: Mapping[str, str], schema_text: str) -> str:
    """What names these files and this schema: SHA-256 of their canonical JSON, in hex."""
    canonical = json.dumps({"files": dict(files), "schema": schema_text}, sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def shipped_policies() -> dict[str, str]:
    """The policies that Vallum ships, by file name."""
    folder = resources.files("vallum.kernel.policy").joinpath("shipped")
    return {f.name: f.read_text() for f in sorted(folder.iterdir(), key=lambda f: f.name) if f.name.endswith(".cedar")}


def shipped_schema() -> str:
    return resources.files("vallum.kernel.policy").joinpath("shipped/vallum.cedarschema").read_text()
