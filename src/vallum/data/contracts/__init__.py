"""Data contracts in the Open Data Contract Standard (ODCS) v3.1: read, written, and proposed from a profile."""

from vallum.data.contracts.model import Contract, ContractTable, Property, Rule
from vallum.data.contracts.parse import BadContract, parse_contract
from vallum.data.contracts.propose import propose_contract
from vallum.data.contracts.render import contract_as_json, render_contract

__all__ = [
    "BadContract",
    "Contract",
    "ContractTable",
    "Property",
    "Rule",
    "contract_as_json",
    "parse_contract",
    "propose_contract",
    "render_contract",
]
