"""Files that come with Keyfund and are no Python: in the installed package, or where a checkout has them."""

from pathlib import Path

INSTALLED = Path(__file__).parent / "shipped_files"
CHECKOUT = Path(__file__).parent.parent


def _place(installed: str, checkout: str) -> Path:
    packed = INSTALLED / installed
    return packed if packed.exists() else CHECKOUT / checkout


MIGRATIONS = _place("migrations", "supabase/migrations")
DASHBOARD = _place("dashboard", "dashboard/dist")
GUARD = CHECKOUT / "guard" / "keyfund_guard.py"  # a package of its own, beside this one in either case
