"""Taking over keys from before Keyfund: who may have one, and the row that makes it theirs."""

from core.domain.adoption import Adoptee, Adoption
from core.store.calls import Functions
from core.store.routes import read_fences


class AdoptionStore(Functions):
    """Keys that LiteLLM has and the database has not."""

    async def find_adoptee(self, account: str, key_hash: str, owner: str | None) -> Adoptee:
        """Accounts with this id or e-mail address, and what is known of the key and its owner in LiteLLM."""
        row = await self._call("find_adoptee", account=account, key_hash=key_hash, owner=owner)
        return Adoptee(
            accounts={one["user_id"]: one["status"] for one in row["accounts"]},
            holder=row["holder"],
            owner_is_ours=row["owner_is_ours"],
            fences=read_fences(row["fences"]),
        )

    async def adopt_key(self, adoption: Adoption) -> bool:
        """Make the key one of the account's, and the account due. False: it was before.

        Raises:
            RefusedError: another account has it by now, or this one may have none.
        """
        return bool(
            await self._call(
                "adopt_key",
                user_id=adoption.user_id,
                key_hash=adoption.request.key_hash,
                key=adoption.request.key,
                preview=adoption.preview,
                name=adoption.request.name,
                max_budget=adoption.budget_cents,
                budget_duration=adoption.budget_duration,
                rpm_limit=adoption.rpm_limit,
                tpm_limit=adoption.tpm_limit,
                blocked=adoption.blocked,
                models=None if adoption.models is None else list(adoption.models),
                expires_at=adoption.expires_at.isoformat() if adoption.expires_at else None,
            )
        )
