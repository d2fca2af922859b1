"""What the routes work with, handed to each as an argument."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPBearer
from pydantic import Field

from core.assembly import Assembly
from core.flows.settle import Settled, Settler
from core.logs import get_logger
from core.payments.paystack import Paystack
from core.refusals import switched_off
from core.store import CallerStore
from webhook.inbox import Inbox
from webhook.strict import refuse_unknown
from webhook.tokens import Caller, TokenVerifier

log = get_logger()
MOST_TASKS = 64
NO_NUL = r"^[^\x00]*$"  # the one character that PostgreSQL's text cannot hold

ACCOUNT = "A team of the caller's; without it, their personal account."
AccountHere = Annotated[UUID | None, Query(description=ACCOUNT)]
InAccount = Annotated[UUID | None, Field(strict=False, description=ACCOUNT)]


@dataclass(slots=True)
class Background:
    """Work that goes on after the answer. What is lost with the process, the worker finds in the database."""

    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    promised: int = 0

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Keep a place for work that may follow. False: a crowd is better left to the worker."""
        is_free = len(self.tasks) + self.promised < MOST_TASKS
        self.promised += is_free
        try:
            yield is_free
        finally:
            self.promised -= is_free

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("background.failed", error=str(error))

    async def finish(self, seconds: float) -> None:
        """Give what is in hand a moment to end."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=seconds)


@dataclass(slots=True)
class Returns:
    """Buyers on their way back: however many ask about one payment at once, Paystack is asked once."""

    running: dict[str, asyncio.Task[Settled]] = field(default_factory=dict)

    async def settle(self, settler: Settler, reference: str) -> Settled:
        """Settle a payment, or wait for whoever does.

        Raises:
            KeyfundError: it could not be settled now.
        """
        task = self.running.get(reference)
        if task is None:
            task = self.running[reference] = asyncio.create_task(settler.settle(reference))
            task.add_done_callback(lambda _: self.running.pop(reference, None))
        return await asyncio.shield(task)


@dataclass(frozen=True, slots=True)
class Services:
    """All that a route may need."""

    parts: Assembly
    tokens: TokenVerifier
    background: Background
    inbox: Inbox
    returns: Returns = field(default_factory=Returns)

    @property
    def paystack(self) -> Paystack:
        if self.parts.paystack is None:
            raise switched_off("paystack_not_configured")
        return self.parts.paystack

    @property
    def settler(self) -> Settler:
        if self.parts.settler is None:
            raise switched_off("paystack_not_configured")
        return self.parts.settler

    def need_litellm(self) -> None:
        if self.parts.litellm is None:
            raise switched_off("litellm_not_configured")

    def store_of(self, caller: Caller) -> CallerStore:
        """Supabase as this caller sees it."""
        return CallerStore(self.parts.settings, self.parts.supabase, caller.token)

    def push_soon(self, user_id: str) -> asyncio.Task[Any] | None:
        """Push the account right away, beside the answer; the worker does it should that fail."""
        if self.parts.pusher is None:
            return None
        return self.background.start(self.parts.pusher.push_now(user_id))


async def _services(request: Request) -> Services:  # a plain function would be sent to a thread
    services: Services = request.app.state.services
    return services


ServicesHere = Annotated[Services, Depends(_services)]


ACCESS_TOKEN = HTTPBearer(
    scheme_name="bearer",
    bearerFormat="JWT",
    description="A Supabase access token.",
    auto_error=False,  # it only describes; the verifier answers
)


async def _caller(
    request: Request, services: ServicesHere, _described: Annotated[object, Security(ACCESS_TOKEN)]
) -> Caller:
    caller = await services.tokens.verify(request.headers.get("authorization"))
    request.state.caller = caller  # for the headers of the answer
    await refuse_unknown(request)
    return caller


CallerHere = Annotated[Caller, Depends(_caller)]
