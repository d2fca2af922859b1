"""Supabase on one machine: a hosted project's roles and schemas, and its HTTP side on top."""

from dev.supabase.database import Regime, clone_database, create_roles, provision
from dev.supabase.migrate import apply_migrations, apply_seed
from dev.supabase.service import Keys, auth_schema, install, part

__all__ = [
    "Keys",
    "Regime",
    "apply_migrations",
    "apply_seed",
    "auth_schema",
    "clone_database",
    "create_roles",
    "install",
    "part",
    "provision",
]
