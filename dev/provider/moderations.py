"""POST /moderations: free."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dev.provider import answer
from dev.provider.asking import body_of, call_of, keyed, model_of
from dev.provider.demand import Demand
from dev.provider.price import MODELS
from dev.provider.refusal import JsonObject
from dev.provider.shape import MODERATIONS

CATEGORIES: Final = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors"),
    *("violence", "violence/graphic"),
)


@keyed
async def create(request: Request) -> Response:
    """Find nothing wrong with any input."""
    body, call = await body_of(request), call_of(request)
    MODERATIONS.check(body)
    model = model_of(request, body, "moderation") if body.get("model") else MODELS["live-moderate"]
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    demand = Demand.of(str(inputs))
    await demand.meet()
    call.charge(model.name, 0, inputs=len(inputs))
    results = [_result() for _ in inputs]
    return answer.whole(call, demand, {"id": f"modr-{call.id}", "model": model.name, "results": results})


def _result() -> JsonObject:
    return {
        "flagged": False,
        "categories": dict.fromkeys(CATEGORIES, False),
        "category_scores": dict.fromkeys(CATEGORIES, 0.0),
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
