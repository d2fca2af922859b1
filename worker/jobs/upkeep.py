"""Jobs within the database: accounts to heal, strings to retire, rows to forget."""

from dataclasses import dataclass

from core.logs import get_logger
from core.store import ServiceStore

log = get_logger()


@dataclass(frozen=True, slots=True)
class HealAccounts:
    """Bring accounts up to date with Supabase's users where no trigger did; end bans; grant what waited."""

    store: ServiceStore
    at_once: int

    async def run_once(self) -> int:
        healed = await self.store.heal_accounts(self.at_once)
        if unbanned := healed.pop("unbanned", 0):  # the clock did that: nothing was amiss
            log.info("accounts.unbanned", accounts=unbanned)
        if any(healed.values()):
            log.warning("accounts.healed", **healed)
        return 0


@dataclass(frozen=True, slots=True)
class RetireKeys:
    """Let former strings of rotated keys go when their overlap is over."""

    store: ServiceStore
    at_once: int

    async def run_once(self) -> int:
        return await self.store.retire_keys(self.at_once)


@dataclass(frozen=True, slots=True)
class ForgetKeys:
    """Remove rows of revoked keys that LiteLLM has not had for long."""

    store: ServiceStore
    at_once: int

    async def run_once(self) -> int:
        forgotten = await self.store.forget_keys(self.at_once)
        if forgotten:
            log.info("keys.forgotten", keys=forgotten)
        return forgotten
