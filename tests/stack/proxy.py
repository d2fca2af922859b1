"""What tests ask of the stack's LiteLLM."""

from hashlib import sha256
from secrets import token_urlsafe
from typing import Any
from uuid import uuid4

import httpx


class Proxy:
    """LiteLLM's management API with the master key, and its model API with a user's."""

    def __init__(self, env: dict[str, str]) -> None:
        self.url, self.master_key = env["LITELLM_BASE_URL"], env["LITELLM_MASTER_KEY"]

    def ask(self, method: str, path: str, key: str = "", **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key or self.master_key}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=30, **more)

    def wallet(self, dollars: float, user: str = "") -> str:
        user = user or str(uuid4())
        body = {"user_id": user, "max_budget": dollars, "budget_duration": None}
        assert self.ask("POST", "/user/update", json=body).status_code == 200
        return user

    def key(self, user: str, **more: Any) -> str:
        body = {"key": f"sk-{token_urlsafe(24)}", "user_id": user, "key_type": "llm_api", "max_budget": 100}
        assert self.ask("POST", "/key/generate", json=body | more).status_code == 200
        return str(body["key"])

    def info(self, key: str) -> dict[str, Any]:
        answer = self.ask("GET", "/key/info", params={"key": sha256(key.encode()).hexdigest()})
        return dict(answer.json()["info"])

    def call(
        self, key: str, model: str = "mock-costly", more: dict[str, Any] | None = None
    ) -> httpx.Response:
        message = {"role": "user", "content": "hi"}
        body = {"model": model, "messages": [message], "max_tokens": 20}
        return self.ask("POST", "/v1/chat/completions", key, json=body | (more or {}))

    def spend(self, user: str) -> float:
        return float(self.ask("GET", "/v2/user/info", params={"user_id": user}).json()["spend"])
