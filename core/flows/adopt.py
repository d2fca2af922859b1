"""Adoption: keys that LiteLLM had before Keyfund become keys of accounts.

LiteLLM is only read here. The row that is written makes the account due, and its ordinary push sets the key's
owner and limits.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from core.domain.adoption import Adoption, Refusal, Request, judge
from core.errors import RefusedError
from core.gateways.litellm import LiteLLM
from core.store import ServiceStore


@dataclass(frozen=True, slots=True)
class Adopter:
    """Looks first, then does; one key at a time."""

    store: ServiceStore
    litellm: LiteLLM

    async def consider(self, request: Request) -> Adoption | Refusal:
        """What taking over this key would change, or why it is refused.

        Raises:
            TransientError: LiteLLM or the database could not be asked.
        """
        listed = await self.litellm.find_key(request.key_hash)
        owner = listed.shown.user_id if listed is not None else None
        adoptee = await self.store.find_adoptee(request.account, request.key_hash, owner)
        return judge(request, listed, adoptee, datetime.now(UTC))

    async def adopt(self, adoption: Adoption) -> Refusal | None:
        """Take it over. Safe to repeat; a refusal is what has changed since it was considered."""
        try:
            await self.store.adopt_key(adoption)
        except RefusedError as refusal:
            return Refusal(adoption.request, refusal.message)
        return None
