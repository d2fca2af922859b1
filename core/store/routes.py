"""Which routes are open, on which proofs, and for which LiteLLM."""

from datetime import datetime

from core.domain.routes import Fences, RouteProof, RouteReport
from core.store.calls import Functions, Json


class RouteStore(Functions):
    """What the doctor records, and what it looks up."""

    async def record_litellm(self, version: str, guard_version: str | None) -> None:
        """Record which LiteLLM was seen, and which guard in it; None: no guard answered."""
        await self._call("record_litellm", version=version, guard_version=guard_version)

    async def record_route_proof(
        self, route: str, model: str, litellm_version: str, guard_version: str | None
    ) -> None:
        """Record that a route was proved with a model; ``guard_version`` None: it holds without the guard.

        Raises:
            RefusedError: no such route, one that needs no proof, or ``*`` where a model is wanted.
        """
        await self._call(
            "record_route_proof",
            route=route,
            model=model,
            litellm_version=litellm_version,
            guard_version=guard_version,
        )

    async def read_routes(self) -> RouteReport:
        row = await self._call("read_routes")
        return RouteReport(
            fences=read_fences(row["fences"]),
            proofs=tuple(_proof(one) for one in row["proofs"]),
            stale=tuple(row["stale"]),
            litellm_version=row["litellm_version"],
            guard_version=row["guard_version"],
            recorded_at=datetime.fromisoformat(row["recorded_at"]) if row["recorded_at"] else None,
        )


def read_fences(row: Json) -> Fences:
    return Fences(
        open_routes=tuple(row["open_routes"]),
        proved={route: tuple(models) for route, models in row["proved"].items()},
        key_max_parallel=row["key_max_parallel"],
        account_max_parallel=row["account_max_parallel"],
    )


def _proof(row: Json) -> RouteProof:
    return RouteProof(
        route=row["route"],
        model=row["model"],
        litellm_version=row["litellm_version"],
        guard_version=row["guard_version"],
        proved_at=datetime.fromisoformat(row["proved_at"]),
        counts=row["counts"],
    )
