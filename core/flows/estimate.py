"""What a call would cost: LiteLLM's word first, a flat rate last, and always from whom it is."""

import asyncio
import hashlib
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase

from core.domain.usage import Estimate, FlatRate, Question
from core.errors import KeyfundError, RefusedError, TransientError
from core.gateways.litellm import LiteLLM
from core.logs import get_logger
from core.refusals import REFUSALS, switched_off, unavailable

log = get_logger()
ASK_SECONDS = 3.0  # an estimate that comes late is of no use; LiteLLM's first one takes it a second or two
PAUSE_SECONDS = 5.0  # after LiteLLM failed, before it is asked again
MODELS_SECONDS = 30.0
MOST_KEPT = 2000
KEPT_SECONDS = 600.0  # prices change
Clock = Callable[[], float]


class UnknownModelError(RefusedError):
    """LiteLLM answers, and offers no such model."""

    def __init__(self) -> None:
        refusal = REFUSALS["model_not_found"]
        super().__init__("model_not_found", refusal.say(), status=refusal.status)


class Kept:
    """The latest estimates, by a keyed hash of who asked what.

    No prompt can be read from it, nor can it be tried whether somebody else has asked with one.
    """

    def __init__(self, most: int = MOST_KEPT, clock: Clock = time.monotonic) -> None:
        self._secret = secrets.token_bytes(32)
        self._most = most
        self._clock = clock
        self._estimates: OrderedDict[bytes, tuple[float, Estimate]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._estimates)

    def name(self, question: Question) -> bytes:
        told = (question.model, question.prompt, question.messages, question.completion_tokens)
        asked = (question.user_id, *told)
        return hashlib.blake2b(json.dumps(asked).encode(), key=self._secret, digest_size=32).digest()

    def get(self, name: bytes) -> Estimate | None:
        at, estimate = self._estimates.get(name, (0.0, None))
        if estimate is None or self._clock() - at > KEPT_SECONDS:
            return None
        self._estimates.move_to_end(name)
        return replace(estimate, cached=True)

    def put(self, name: bytes, estimate: Estimate) -> None:
        self._estimates[name] = (self._clock(), estimate)
        self._estimates.move_to_end(name)
        if len(self._estimates) > self._most:
            self._estimates.popitem(last=False)


class Estimator:
    """Estimates calls; never keeps, logs or shows a prompt."""

    def __init__(
        self, litellm: LiteLLM | None, flat: FlatRate, kept: Kept | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._litellm = litellm
        self._flat = flat
        self._kept = Kept() if kept is None else kept
        self._clock = clock
        self._models: tuple[str, ...] | None = None
        self._models_at = float("-inf")
        self._failed_at = float("-inf")

    async def list_models(self) -> tuple[str, ...]:
        """The public names of the models that LiteLLM offers, at most half a minute old while it answers.

        Raises:
            NotConfiguredError: there is no LiteLLM.
            TransientError: it does not answer, and never has.
        """
        if self._litellm is None:
            raise switched_off("litellm_not_configured")
        if self._clock() - self._models_at > MODELS_SECONDS and not self._is_left_alone:
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    self._models = await self._litellm.list_models()
                self._models_at = self._clock()
            except (KeyfundError, TimeoutError) as error:
                self._failed_at = self._clock()
                log.warning("usage.models_not_read", error=str(error) or "took too long")
        if self._models is None:
            raise unavailable("litellm_unreachable")
        return self._models

    async def estimate(self, question: Question) -> Estimate:
        """Tokens and cost of a call.

        Raises:
            UnknownModelError: LiteLLM offers no such model.
        """
        name = self._kept.name(question)
        estimate = self._kept.get(name)
        if estimate is None:
            estimate = await self._ask(question)
            if (estimate.tokens_from, estimate.cost_from) == ("litellm", "litellm"):
                self._kept.put(name, estimate)
        if question.told_micros is not None:
            return replace(estimate, spend_micros=question.told_micros, cost_from="headers")
        return estimate

    async def _ask(self, question: Question) -> Estimate:
        if self._litellm is None or self._is_left_alone:
            return self._guess(question)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                if not _offers(await self.list_models(), question.model):
                    raise UnknownModelError
                tokens = await self._litellm.count_tokens(
                    question.model, prompt=question.prompt, messages=question.messages
                )
                cost = await self._litellm.estimate_cost(question.model, tokens, question.completion_tokens)
        except UnknownModelError:
            raise
        except RefusedError:
            return self._guess(question)  # it is this question that LiteLLM does not like
        except (TransientError, TimeoutError):
            self._failed_at = self._clock()
            return self._guess(question)
        if cost is None:
            cost_micros = self._flat.micros(tokens + question.completion_tokens)
            return Estimate(tokens, question.completion_tokens, cost_micros, "litellm", "flat")
        return Estimate(tokens, question.completion_tokens, cost, "litellm", "litellm")

    @property
    def _is_left_alone(self) -> bool:
        return self._clock() - self._failed_at < PAUSE_SECONDS

    def _guess(self, question: Question) -> Estimate:
        tokens = self._flat.tokens(question.characters)
        cost_micros = self._flat.micros(tokens + question.completion_tokens)
        return Estimate(tokens, question.completion_tokens, cost_micros, "flat", "flat")


def _offers(models: tuple[str, ...], model: str) -> bool:
    return any(model == one or ("*" in one and fnmatchcase(model, one)) for one in models)
