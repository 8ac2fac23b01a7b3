"""What the databases of a local stack and their roles are called."""

from __future__ import annotations


def database_name(service: str) -> str:
    """The database of a service."""
    return f"sealgate_{service}"


def service_role(service: str) -> str:
    """The role a service works as: it cannot change tables, nor the past."""
    return f"sealgate_{service}"


def owner_role(service: str) -> str:
    """The role that owns a service's tables and migrates them."""
    return f"sealgate_{service}_owner"
