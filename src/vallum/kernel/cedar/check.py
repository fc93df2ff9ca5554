"""The child process that meets new policies first: `{"policies", "schema"}` in, a JSON list of problems out.

It meets them on a stack smaller than any of the server's threads has, because Cedar's parser recurses without
looking: what passes here does not exhaust a stack there.
"""

import json
import sys
from threading import Thread, stack_size

import cedarpy

from vallum.kernel.cedar.syntax import policy_texts

__all__ = ["problems_of"]

_STACK_BYTES = 1 << 20  # half of what a Rust thread gets by default, which is the smallest that decides


def problems_of(policies: str, schema: str) -> list[str]:
    """Everything wrong with `policies`, in words for who wrote them."""
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(policies))
        result = cedarpy.validate_policies(policies, schema)
    except ValueError as e:
        return [str(e)]
    except RecursionError:
        return ["a policy nests too deeply: split it into several"]
    found = [str(error) for error in result.errors]
    ids: list[str] = []
    for policy in parsed.get("staticPolicies", {}).values():
        name = policy.get("annotations", {}).get("id")
        if name:
            ids.append(name)
        else:
            found.append('a policy has no @id("…"): decisions name the policies that made them')
    if len(policy_texts({"": policies})) != len(ids) or set(policy_texts({"": policies})) != set(ids):
        found.append("the policies' ids cannot be told from the text: write @id first, plainly, and each once")
    found += [f'@id("{name}") is there twice' for name in sorted({n for n in ids if ids.count(n) > 1})]
    if parsed.get("templates"):
        found.append("templates are not supported: write the policy out")
    return found


def main() -> None:
    question = json.load(sys.stdin)
    stack_size(_STACK_BYTES)
    found: list[list[str]] = []
    small = Thread(target=lambda: found.append(problems_of(question["policies"], question["schema"])))
    small.start()
    small.join()
    json.dump(found[0], sys.stdout)  # nothing found because the thread failed: an IndexError, and so a refusal


if __name__ == "__main__":
    main()
