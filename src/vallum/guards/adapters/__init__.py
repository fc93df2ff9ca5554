"""Detectors of other projects as guards of ours. Each needs its project; none is imported until it is asked for.

    from vallum.guards.adapters.presidio import PresidioGuard      # names and places, by Presidio's recognisers
    from vallum.guards.adapters.llm_guard import LlmGuardScanner   # one scanner of llm-guard
    from vallum.guards.adapters.nemo import NemoRails              # input rails of NeMo Guardrails

An application uses one as it uses any plug-in: by the entry point of the group `vallum.guards` that returns it. The one
named `presidio` comes with Vallum.
"""

__all__: list[str] = []
