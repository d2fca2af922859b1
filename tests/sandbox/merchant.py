"""A merchant at the sandbox: its API client on one side, its webhook receiver on the other."""

import json
from typing import Any

import httpx

SECRET_KEY = "sk_test_00112233445566778899aabbccddeeff00112233"
WEBHOOK_URL = "http://receiver.example/webhooks/paystack"


class Receiver:
    """Takes webhooks and answers what it was told to: HTTP statuses or errors, then 200 for ever."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What has come, in order."""
        return [json.loads(request.content) for request in self.requests]

    @property
    def names(self) -> list[str]:
        """The kinds of events that have come, in order."""
        return [event["event"] for event in self.events]

    def has(self, name: str) -> bool:
        """Whether an event of this kind has come."""
        return name in self.names


class Merchant:
    """Calls the sandbox as a merchant's server does, and its controls as a test does."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that went well."""
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, **body: Any) -> Any:
        """The JSON of a POST that went well."""
        answer = await self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def open(self, **more: Any) -> str:
        """Open a payment and answer its reference."""
        body = {
            "email": "wanjiru@buyer.example",
            "amount": 500_000,
            "currency": "NGN",
            "first_name": "Wanjiru",
            "last_name": "Okafor",
            "callback_url": "https://app.example/checkout/return",
            "metadata": {"order_id": "ord_7f1c2a90"},
        }
        answer = await self.post("/transaction/initialize", **(body | more))
        return str(answer["data"]["reference"])

    async def pay(self, reference: str, **fields: Any) -> Any:
        """Pay through the control, once the webhook has been tried."""
        return await self.post(f"/sandbox/transactions/{reference}/pay", wait=True, **fields)

    async def paid(self, **more: Any) -> str:
        """A reference that is paid."""
        reference = await self.open(**more)
        await self.pay(reference)
        return reference

    async def data_of(self, reference: str) -> Any:
        """What verify says of a payment."""
        return (await self.get(f"/transaction/verify/{reference}"))["data"]
