"""Carries webhooks to the receiver, again and again if need be."""

import asyncio
from collections.abc import Callable, Sequence

import httpx

from dev.paystack import signature
from dev.paystack.clock import Clock
from dev.paystack.delivery import Attempt, Delivery
from dev.paystack.errand import Errands


class Postman:
    """Delivers in the background; a receiver that is down, slow or wrong only makes it come back later."""

    def __init__(self, url: str, clock: Clock, sender: httpx.AsyncClient, errands: Errands) -> None:
        self._url = url
        self._clock = clock
        self._sender = sender
        self._errands = errands
        self._news = asyncio.Event()
        self.on_news: Callable[[], None] = lambda: None

    def carry(self, batches: Sequence[Sequence[Delivery]]) -> None:
        """Take batches one after the other, the deliveries of each at once; then retry each alone."""
        self._errands.start(self._carry(batches))

    def resume(self, delivery: Delivery) -> None:
        """Go on with a delivery where an earlier process left it."""
        self._errands.start(self._finish(delivery))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once a condition on the deliveries holds; it is looked at after each try."""
        while not holds():
            await self._news.wait()

    async def tried(self, deliveries: Sequence[Delivery]) -> None:
        """Return once each has been tried a first time."""
        await self.until(lambda: all(delivery.tried for delivery in deliveries))

    async def _carry(self, batches: Sequence[Sequence[Delivery]]) -> None:
        for batch in batches:
            await asyncio.gather(*(self._try(delivery) for delivery in batch))
            for delivery in batch:
                self._errands.start(self._finish(delivery))

    async def _finish(self, delivery: Delivery) -> None:
        while delivery.next_attempt_at is not None:
            await self._try(delivery)

    async def _try(self, delivery: Delivery) -> None:
        if delivery.next_attempt_at is not None:
            await self._clock.until(delivery.next_attempt_at)
        delivery.record(await self._send(delivery), self._clock)
        self.on_news()
        self._news.set()
        self._news = asyncio.Event()

    async def _send(self, delivery: Delivery) -> Attempt:
        at = self._clock.now()
        headers = signature.headers(delivery.signature)
        try:
            answer = await self._sender.post(self._url, content=delivery.raw, headers=headers)
        except httpx.HTTPError as error:
            return Attempt(at, None, type(error).__name__)
        return Attempt(at, answer.status_code)
