"""Applications as the inventory has them in force."""

from sqlalchemy import Connection

from vallum.inventory import Configuration, Inventory
from vallum.releases.manifest import ApplicationPolicy, application_policy, same_policy, with_policy

__all__ = ["InventoryApplications"]


class InventoryApplications:
    """Implements `Applications`."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def policy(self, conn: Connection, name: str) -> ApplicationPolicy | None:
        application = self._inventory.declared(conn).applications.get(name)
        return application_policy(name, application) if application is not None else None

    def put(self, conn: Connection, policy: ApplicationPolicy) -> None:
        """Leaves owner, retention and whether it is enabled as they are. Nothing there to change is no error: an
        application that was removed is not declared anew by a deployment."""
        present = self._inventory.declared(conn).applications.get(policy.name)
        if present is None:
            return
        if not same_policy(application_policy(policy.name, present), policy):
            self._inventory.apply(conn, Configuration(applications={policy.name: with_policy(present, policy)}))
