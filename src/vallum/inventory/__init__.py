"""The inventory: providers, models and applications, declared in files, planned, applied, and looked up in memory."""

from vallum.inventory.inventory import EPOCH, Change, Inventory, Plan, PlanMoved, render_plan
from vallum.inventory.model import (
    CLASSIFICATIONS,
    Application,
    Classifier,
    Configuration,
    GuardException,
    Guards,
    GuardSettings,
    InjectionJudge,
    InputGuards,
    Limits,
    Model,
    Name,
    OutputGuards,
    Provider,
    Thresholds,
)
from vallum.inventory.parse import ConfigurationRefused, parse_files, read_files

__all__ = [
    "CLASSIFICATIONS",
    "EPOCH",
    "Application",
    "Change",
    "Classifier",
    "Configuration",
    "ConfigurationRefused",
    "GuardException",
    "GuardSettings",
    "Guards",
    "InjectionJudge",
    "InputGuards",
    "Inventory",
    "Limits",
    "Model",
    "Name",
    "OutputGuards",
    "Plan",
    "PlanMoved",
    "Provider",
    "Thresholds",
    "parse_files",
    "read_files",
    "render_plan",
]
