"""LiteLLM as the model sees it: calls with people's keys, and what is really in there."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

import httpx

from core.domain.keys import ObservedKey
from core.domain.money import cents_from_dollars, micros_from_dollars
from core.settings import Settings
from tests.conformance.app import create_app
from tests.conformance.standin import COSTS, RefusalError, StandIn
from tests.conformance.subject import settings_for
from tests.support import eventually


class Charge(Enum):
    """What became of a model call."""

    BILLED = "billed"
    FREE = "free"  # without its user's row nobody is charged
    REFUSED = "refused"


@dataclass(frozen=True)
class SeenUser:
    budget_micros: int | None
    spend_micros: int


class Sight(Protocol):
    settings: Settings
    transport: httpx.AsyncBaseTransport

    @property
    def standin(self) -> StandIn | None:
        """What can be tampered with; None: the real one."""

    def call(self, key: str, model: str) -> Charge:
        """A model call with somebody's key."""

    def user(self, user_id: str) -> SeenUser | None: ...

    def key(self, key_hash: str) -> ObservedKey | None: ...

    def keys_of(self, user_id: str) -> set[str]:
        """Hashes of the keys that LiteLLM holds for a user."""

    def wait_for_spend(self, user_id: str, micros: int) -> None:
        """Return once so much is shown as spent; the real one takes seconds to write it down."""


class StandInSight:
    """The stand-in, in this process. Pages are short, so that few keys take several."""

    def __init__(self) -> None:
        self._standin = StandIn(longest_page=3)
        self.settings = settings_for("http://litellm.test", self._standin.master_key)
        self.transport: httpx.AsyncBaseTransport = httpx.ASGITransport(create_app(self._standin))

    @property
    def standin(self) -> StandIn:
        return self._standin

    def call(self, key: str, model: str) -> Charge:
        try:
            return Charge.BILLED if self._standin.spend(key, COSTS[model]) else Charge.FREE
        except RefusalError:
            return Charge.REFUSED

    def user(self, user_id: str) -> SeenUser | None:
        row = self._standin.users.get(user_id)
        return _seen(vars(row)) if row is not None else None

    def key(self, key_hash: str) -> ObservedKey | None:
        row = self._standin.keys.get(key_hash)
        return _observed(vars(row)) if row is not None else None

    def keys_of(self, user_id: str) -> set[str]:
        return {token for token, row in self._standin.keys.items() if row.user_id == user_id}

    def wait_for_spend(self, user_id: str, micros: int) -> None:
        """It is shown at once."""


class RealSight:
    """The real LiteLLM, over HTTP."""

    def __init__(self, url: str, master_key: str) -> None:
        self.settings = settings_for(url, master_key)
        self.transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport()
        headers = {"authorization": f"Bearer {master_key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=30)

    @property
    def standin(self) -> None:
        return None

    def call(self, key: str, model: str) -> Charge:
        message = {"role": "user", "content": "hi"}
        body = {"model": model, "messages": [message], "max_tokens": 20}
        headers = {"authorization": f"Bearer {key}"}
        answer = self._http.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code in (200, 401, 422), answer.text
        return Charge.BILLED if answer.status_code == 200 else Charge.REFUSED

    def user(self, user_id: str) -> SeenUser | None:
        answer = self._http.get("/v2/user/info", params={"user_id": user_id})
        return _seen(answer.json()) if answer.status_code == 200 else None

    def key(self, key_hash: str) -> ObservedKey | None:
        answer = self._http.get("/key/info", params={"key": key_hash})
        if answer.status_code != 200 or answer.json()["info"]["status"] == "deleted":
            return None
        return _observed(answer.json()["info"])

    def keys_of(self, user_id: str) -> set[str]:
        params = {"user_id": user_id, "size": "100", "return_full_object": "true"}
        return {key["token"] for key in self._http.get("/key/list", params=params).json()["keys"]}

    def wait_for_spend(self, user_id: str, micros: int) -> None:
        def shown() -> bool:
            user = self.user(user_id)
            return user is not None and user.spend_micros == micros

        assert micros == 0 or eventually(shown, 30), f"{user_id} is not shown to have spent {micros}"

    def close(self) -> None:
        self._http.close()


def _seen(row: dict[str, Any]) -> SeenUser:
    budget = row["max_budget"]
    return SeenUser(
        None if budget is None else micros_from_dollars(budget), micros_from_dollars(row["spend"] or 0)
    )


def _observed(row: dict[str, Any]) -> ObservedKey:
    budget = row["max_budget"]
    return ObservedKey(
        user_id=row["user_id"],
        team_id=row["team_id"],
        blocked=bool(row["blocked"]),
        budget_cents=None if budget is None else cents_from_dollars(budget),
        budget_duration=row["budget_duration"],
        rpm_limit=row["rpm_limit"],
        tpm_limit=row["tpm_limit"],
        routes=tuple(row["allowed_routes"]),
        max_parallel=row["max_parallel_requests"],
        metadata=row["metadata"],
        models=tuple(row["models"]),
        expires_at=_time(row["expires"]),
    )


def _time(told: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(told) if isinstance(told, str) else told
