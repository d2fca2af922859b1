"""The one door to Supabase."""

from core.store.caller import CallerStore, Page
from core.store.service import ServiceStore

__all__ = ["CallerStore", "Page", "ServiceStore"]
