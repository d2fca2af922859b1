"""What was used, by day and model and by key; and what a call would cost."""

import asyncio
import csv
import io
import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from core.domain.money import MICROS_PER_DOLLAR, micros_from_dollars
from core.domain.usage import Question
from core.errors import KeyfundError
from core.flows.usage import tomorrow
from core.logs import get_logger
from webhook.headers import ESTIMATED_COST
from webhook.services import NO_NUL, CallerHere, Services, ServicesHere

log = get_logger()
READ_SECONDS = 3.0  # then what is kept is told: nobody waits for LiteLLM to look at a chart
MICROS_PER_CENT = 10_000
LONGEST_PROMPT = 200_000
COST_HEADER = "x-litellm-response-cost"
FORMULA = re.compile(r"(^|[;\t\r\n])(?=\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
COLUMNS = (
    "date", "model", "key_id", "key_name", "requests", "prompt_tokens", "completion_tokens", "spend_micros",
    "credits",
)  # fmt: skip


def _read_day(value: Any) -> Any:
    """Dates as they are written, YYYY-MM-DD: a number would be taken for seconds since 1970."""
    if isinstance(value, str):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
        if day is None or day.isoformat() != value:
            raise PydanticCustomError("date", "Input should be a date, YYYY-MM-DD")
        return day
    return value


Day = Annotated[date | None, BeforeValidator(_read_day)]
Start = Annotated[Day, Query(description="The first day, UTC; absent: 30 days are told.")]
End = Annotated[Day, Query(description="The last day, UTC, inclusive; absent: today.")]
Model = Annotated[
    str | None, Query(min_length=1, max_length=300, pattern=NO_NUL, description="A model's public name.")
]
KeyId = Annotated[UUID | None, Query(description="One of the account's keys.")]
AccountId = Annotated[
    UUID | None, Query(description="A team of the caller's; for administrators, anybody's account.")
]
Form = Annotated[Literal["json", "csv"], Query(alias="format")]


class Used(BaseModel):
    """Calls that were answered, their tokens, and what they cost: ``credits`` to four places."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    spend_micros: int = Field(description="Millionths of a US dollar.")
    credits: float


class UsedByModel(Used):
    date: date
    model: str


class UsedByKey(Used):
    key_id: UUID | None = Field(description="Null: keys that are none of the account's here.")
    name: str


class Usage(BaseModel):
    """``local``: LiteLLM was not asked or did not answer, and this is what was kept of it."""

    source: Literal["litellm", "local"]
    as_of: datetime | None = Field(description="When LiteLLM was read for this; null: never.")
    time_zone: Literal["UTC"] = "UTC"
    start_date: date
    end_date: date
    days: list[UsedByModel]
    keys: list[UsedByKey]
    total: Used


async def show(
    caller: CallerHere,
    services: ServicesHere,
    start_date: Start = None,
    end_date: End = None,
    model: Model = None,
    key_id: KeyId = None,
    account_id: AccountId = None,
    form: Form = "json",
) -> Any:
    """Usage by day and model, and by key. Days are UTC; a year at most is told at once."""
    given = {
        "start_date": start_date and start_date.isoformat(),
        "end_date": end_date and end_date.isoformat(),
        "model": model,
        "key_id": key_id and str(key_id),
        "account_id": account_id and str(account_id),
        "by_key": form == "csv" or None,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    store = services.store_of(caller)
    told = await store.read_usage(asked)  # as the caller: it refuses who may not see this
    source, as_of, changed = await _refresh(services, told)
    if changed:
        told = await store.read_usage(asked)
    credit_micros = services.parts.settings.credit_value_cents * MICROS_PER_CENT
    if form == "csv":
        return _csv(told, credit_micros, source)
    return Usage(
        source=source,
        as_of=as_of,
        start_date=told["start_date"],
        end_date=told["end_date"],
        days=[UsedByModel(**_priced(row, credit_micros)) for row in told["days"]],
        keys=[UsedByKey(**_priced(row, credit_micros)) for row in told["keys"]],
        total=Used(**_priced(_sum(told["days"]), credit_micros)),
    )


async def _refresh(services: Services, told: dict[str, Any]) -> tuple[Literal["litellm", "local"], Any, bool]:
    """Have these days read from LiteLLM, if it answers soon: the source, as of when, anything new."""
    if services.parts.usage is None or told["is_away"] or told["unread_since"] is None:
        return "local", told["as_of"], False
    start = date.fromisoformat(told["start_date"])
    end = min(date.fromisoformat(told["end_date"]), tomorrow())  # there is nothing of days to come
    if start > end:
        return "local", told["as_of"], False
    if told["as_of"] is None or end >= datetime.fromisoformat(told["as_of"]).astimezone(UTC).date():
        start = min(start, date.fromisoformat(told["unread_since"]))  # no day is left out
    try:
        async with asyncio.timeout(READ_SECONDS):
            read = await services.parts.usage.refresh(told["account_id"], start, end)
    except (KeyfundError, TimeoutError) as error:
        log.warning("usage.not_read", user_id=told["account_id"], error=str(error) or "took too long")
        return "local", told["as_of"], False
    return "litellm", read.as_of, read.changed


def _sum(rows: list[dict[str, Any]]) -> dict[str, int]:
    names = ("requests", "prompt_tokens", "completion_tokens", "spend_micros")
    return {name: sum(row[name] for row in rows) for name in names}


def _priced(row: dict[str, Any], credit_micros: int) -> dict[str, Any]:
    return row | {"credits": round(row["spend_micros"] / credit_micros, 4)}


def _csv(told: dict[str, Any], credit_micros: int, source: str) -> Response:
    """A line per day, model and key; from where they are is in a header, as a file has no room for it."""
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow(COLUMNS)
    for row in told["rows"]:
        cells = _priced(row | {"key_name": row["name"]}, credit_micros)
        lines.writerow([_cell(cells[name]) for name in COLUMNS])
    name = f"usage-{told['start_date']}-{told['end_date']}.csv"
    return PlainTextResponse(
        out.getvalue(),
        media_type="text/csv",
        headers={"content-disposition": f'attachment; filename="{name}"', "x-keyfund-source": source},
    )


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is marked as text.

    So is what follows a semicolon or a tab: where these are what parts the cells, it begins one.
    """
    return FORMULA.sub(r"\1'", value) if isinstance(value, str) else value


# ----------------------------------------------------------------------- estimates


class TextPart(BaseModel):
    """Text alone: LiteLLM would fetch a picture from wherever its address points to, to measure it."""

    model_config = ConfigDict(strict=True, extra="forbid")
    type: Literal["text"]
    text: str


class Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    role: str = Field(min_length=1, max_length=50)
    content: str | list[TextPart]

    def plain(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "".join(one.text for one in self.content)
        return {"role": self.role, "content": text}


class Call(BaseModel):
    """A call that is not made. Without ``max_tokens`` only what is sent is counted, not the answer."""

    model_config = ConfigDict(strict=True, extra="forbid")
    model: str = Field(min_length=1, max_length=300, pattern=NO_NUL)
    prompt: str | None = Field(default=None, max_length=LONGEST_PROMPT)
    messages: list[Message] | None = Field(default=None, min_length=1, max_length=1000)
    max_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    response_headers: dict[str, str] | None = Field(
        default=None,
        max_length=100,
        description=f"Those of the call itself, if it was made: `{COST_HEADER}` is its cost in dollars.",
    )

    @model_validator(mode="after")
    def _ask_one_thing(self) -> "Call":
        if (self.prompt is None) == (self.messages is None):
            raise PydanticCustomError("question", "Give either prompt or messages")
        if sum(len(one.plain()["content"]) for one in self.messages or ()) > LONGEST_PROMPT:
            raise PydanticCustomError("question", "Give at most 200000 characters of messages")
        self._told_micros()
        return self

    def _told_micros(self) -> int | None:
        told = {name.lower(): value for name, value in (self.response_headers or {}).items()}.get(COST_HEADER)
        if told is None:
            return None
        try:
            dollars = float(told)
        except ValueError:
            dollars = -1.0
        if not 0 <= dollars <= MICROS_PER_DOLLAR:
            raise PydanticCustomError("question", f"{COST_HEADER} is a number of dollars")
        return micros_from_dollars(dollars)

    def question(self, user_id: str) -> Question:
        return Question(
            user_id=user_id,
            model=self.model,
            prompt=self.prompt,
            messages=None if self.messages is None else tuple(one.plain() for one in self.messages),
            completion_tokens=self.max_tokens or 0,
            told_micros=self._told_micros(),
        )


class EstimateSource(BaseModel):
    """``flat``: a rough rate, because LiteLLM did not answer or knows no price."""

    tokens: Literal["litellm", "flat"]
    cost: Literal["litellm", "headers", "flat"]


class EstimatedCall(BaseModel):
    model: str
    prompt_tokens: int
    completion_tokens: int = Field(description="`max_tokens`, or 0.")
    spend_micros: int = Field(description="Millionths of a US dollar.")
    credits: float
    source: EstimateSource
    rough: bool = Field(
        description="A guess at a flat rate, as LiteLLM was not asked or has no price: it may be far off."
    )
    cached: bool = Field(description="The caller asked the same before, and this is what was answered.")


class Models(BaseModel):
    models: list[str]


async def estimate(
    body: Call, response: Response, caller: CallerHere, services: ServicesHere
) -> EstimatedCall:
    """What a call would cost. The prompt is neither kept nor logged."""
    settings = services.parts.settings
    told = await services.parts.estimator.estimate(body.question(caller.user_id))
    if settings.include_cost_headers:
        response.headers[ESTIMATED_COST] = str(told.spend_micros)
    return EstimatedCall(
        model=body.model,
        prompt_tokens=told.prompt_tokens,
        completion_tokens=told.completion_tokens,
        spend_micros=told.spend_micros,
        credits=round(told.spend_micros / (settings.credit_value_cents * MICROS_PER_CENT), 4),
        source=EstimateSource(tokens=told.tokens_from, cost=told.cost_from),
        rough=told.is_rough,
        cached=told.cached,
    )


async def list_models(_caller: CallerHere, services: ServicesHere) -> Models:
    """The public names of the models that LiteLLM offers."""
    return Models(models=list(await services.parts.estimator.list_models()))
