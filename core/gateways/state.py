"""What LiteLLM shows of itself: its models, its version, what is loaded into it."""

import re

from core.domain.models import Model
from core.domain.watch import Callbacks
from core.errors import RefusedError
from core.gateways.answers import Json, WrongCredentialsError
from core.gateways.models import configured_models, grouped_models
from core.gateways.wire import Wire

GUARD = re.compile(r"<Keyfund guard ([^>\s]+)>")


class StateReader:
    """Reads that every operator's master key may do; a key of fewer rights is refused some of them.

    All methods raise TransientError when LiteLLM does not answer.
    """

    _wire: Wire

    async def list_deployments(self) -> tuple[Model, ...]:
        """All deployments with their prices; where no more is shown, models with their token prices alone."""
        body = await self._look("/model/info")
        if body is not None:
            return tuple(configured_models(body.get("data")))
        body = await self._look("/model_group/info")
        return tuple(grouped_models((body or {}).get("data")))

    async def read_version(self) -> str | None:
        """LiteLLM's version; None: not for this key."""
        body = await self._look("/health/readiness/details")
        version = (body or {}).get("litellm_version")
        return version if isinstance(version, str) and version else None

    async def read_callbacks(self) -> Callbacks | None:
        """What is loaded into the worker that answers; None: not for this key."""
        body = await self._look("/active/callbacks")
        if body is None:
            return None
        found = GUARD.search(str(body.get("litellm.callbacks")))
        return Callbacks(found[1] if found else None)

    async def _look(self, path: str) -> Json | None:
        try:
            return await self._wire.send("GET", f"{self._wire.base_url}{path}")
        except (RefusedError, WrongCredentialsError):
            return None
