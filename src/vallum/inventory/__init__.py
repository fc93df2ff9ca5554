"""The inventory: providers, models and applications, declared in files, planned, applied, and looked up in memory."""

from vallum.inventory.inventory import EPOCH, Change, Inventory, Plan, PlanMoved, render_plan
from vallum.inventory.model import (
    CLASSIFICATIONS,
    Application,
    Configuration,
    Guards,
    GuardSettings,
    Limits,
    Model,
    Provider,
)
from vallum.inventory.parse import ConfigurationRefused, parse_files, read_files

__all__ = [
    "CLASSIFICATIONS",
    "EPOCH",
    "Application",
    "Change",
    "Configuration",
    "ConfigurationRefused",
    "GuardSettings",
    "Guards",
    "Inventory",
    "Limits",
    "Model",
    "Plan",
    "PlanMoved",
    "Provider",
    "parse_files",
    "read_files",
    "render_plan",
]
