"""What the sandbox is told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

PREFIX: Final = "PAYSTACK_SANDBOX_"


@dataclass(frozen=True)
class Settings:
    """One merchant's account at this sandbox.

    `clock_scale` shortens Paystack's waits: at 360 an hourly retry comes every ten seconds.
    With a `state_file` a restart remembers everything, as Paystack does when it comes back.
    """

    secret_key: str
    webhook_url: str
    port: int = 0
    clock_scale: float = 360.0
    merchant: str = "Keyfund"
    state_file: Path | None = None

    def __post_init__(self) -> None:
        if not self.secret_key:
            raise ValueError("The sandbox needs a secret key: an empty one could be forged by anybody")
        if self.clock_scale <= 0:
            raise ValueError("The clock scale must be above zero")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Settings out of PAYSTACK_SANDBOX_… variables; a missing required one raises KeyError."""
        state_file = environment.get(f"{PREFIX}STATE_FILE")
        return cls(
            secret_key=environment[f"{PREFIX}SECRET_KEY"],
            webhook_url=environment[f"{PREFIX}WEBHOOK_URL"],
            port=int(environment[f"{PREFIX}PORT"]),
            clock_scale=float(environment.get(f"{PREFIX}CLOCK_SCALE", cls.clock_scale)),
            merchant=environment.get(f"{PREFIX}MERCHANT", cls.merchant),
            state_file=Path(state_file) if state_file else None,
        )

    def to_environment(self) -> dict[str, str]:
        """The same as variables, for the process that will read them."""
        environment = {
            f"{PREFIX}SECRET_KEY": self.secret_key,
            f"{PREFIX}WEBHOOK_URL": self.webhook_url,
            f"{PREFIX}PORT": str(self.port),
            f"{PREFIX}CLOCK_SCALE": str(self.clock_scale),
            f"{PREFIX}MERCHANT": self.merchant,
        }
        return environment | ({f"{PREFIX}STATE_FILE": str(self.state_file)} if self.state_file else {})
