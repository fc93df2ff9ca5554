"""The child process that meets new policies first: `{"policies", "schema"}` in, a JSON list of problems out."""

import json
import sys

import cedarpy

__all__ = ["problems_of"]


def problems_of(policies: str, schema: str) -> list[str]:
    """Everything wrong with `policies`, in words for who wrote them."""
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(policies))
        result = cedarpy.validate_policies(policies, schema)
    except ValueError as e:
        return [str(e)]
    found = [str(error) for error in result.errors]
    ids: list[str] = []
    for policy in parsed.get("staticPolicies", {}).values():
        name = policy.get("annotations", {}).get("id")
        if name:
            ids.append(name)
        else:
            found.append('a policy has no @id("…"): decisions name the policies that made them')
    found += [f'@id("{name}") is there twice' for name in sorted({n for n in ids if ids.count(n) > 1})]
    if parsed.get("templates"):
        found.append("templates are not supported: write the policy out")
    return found


if __name__ == "__main__":
    question = json.load(sys.stdin)
    json.dump(problems_of(question["policies"], question["schema"]), sys.stdout)
