"""The dashboard: its page and files as `dashboard/` builds them, and the public facts that it starts with."""

import gzip
from functools import lru_cache
from mimetypes import guess_type
from pathlib import Path
from typing import Annotated

from fastapi import Path as PathParameter
from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from core.refusals import refused, switched_off
from core.settings import Settings
from core.shipped import DASHBOARD
from webhook.services import ServicesHere

BUILT = DASHBOARD
FOREVER = "public, max-age=31536000, immutable"  # a file's name has the hash of what is in it
AssetName = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]
HEADERS = {
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


class DashboardConfig(BaseModel):
    """What anybody may know: the page hands it to whoever opens it."""

    supabase_url: str
    supabase_anon_key: str
    supabase_schema: str
    credit_value_cents: int
    payments: bool
    realtime: bool
    seller: str | None
    """Who sells the credits, as receipts name them."""


def is_built() -> bool:
    return (BUILT / "index.html").is_file()


async def show(services: ServicesHere) -> Response:
    """The page. It holds nothing of anybody: what it shows, it fetches with its reader's token."""
    if not is_built():
        how = "run `npm ci` and `npm run build` in dashboard/"
        raise switched_off("dashboard_not_built", how)
    policy = {"content-security-policy": content_security_policy(services.parts.settings)}
    page = (BUILT / "index.html").read_bytes()
    return Response(page, media_type="text/html", headers=HEADERS | policy)


def show_asset(name: AssetName, request: Request) -> Response:
    """A script or a stylesheet of the page, by its name with a hash; packed for whoever takes it so."""
    file = BUILT / "assets" / name
    if not file.is_file():
        raise refused("not_found")
    headers = {"cache-control": FOREVER, "vary": "accept-encoding"}
    media_type = guess_type(name)[0] or "application/octet-stream"
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(_packed(file), media_type=media_type, headers=headers | {"content-encoding": "gzip"})
    return Response(file.read_bytes(), media_type=media_type, headers=headers)


@lru_cache(maxsize=64)
def _packed(file: Path) -> bytes:
    """For public files alone: what packs secrets beside what a caller sent tells of them by its length."""
    return gzip.compress(file.read_bytes())


async def read_config(services: ServicesHere) -> DashboardConfig:
    settings = services.parts.settings
    return DashboardConfig(
        supabase_url=settings.supabase_url,
        supabase_anon_key=settings.supabase_anon_key,
        supabase_schema=settings.supabase_schema,
        credit_value_cents=settings.credit_value_cents,
        payments=services.parts.paystack is not None,
        realtime=settings.supabase_realtime,
        seller=settings.receipt_seller,
    )


def content_security_policy(settings: Settings) -> str:
    """The page runs our own files and talks to this service and to Supabase; nothing else."""
    supabase = [settings.supabase_url]
    if settings.supabase_realtime:
        supabase.append("ws" + settings.supabase_url.removeprefix("http"))
    rules = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": " ".join(["'self'", *supabase]),
        "img-src": "'self' data:",
        "font-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
