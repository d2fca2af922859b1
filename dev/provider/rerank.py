"""POST /v1/rerank and /v2/rerank, as Cohere has them: billed by the query."""

import json
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from dev.provider import answer
from dev.provider.asking import body_of, call_of, keyed, model_of
from dev.provider.demand import Demand
from dev.provider.refusal import JsonObject, invalid
from dev.provider.shape import RERANK
from dev.provider.tokens import count

QUERY_DOCUMENTS: Final = 100
"""A query with more documents counts as several, by Cohere's price list."""

DOCUMENT_TOKENS: Final = 500
"""A longer document counts as several, by the same list."""

MOST_DOCUMENTS: Final = 10_000


@keyed
async def create(request: Request) -> Response:
    """Put documents in order, which here is the one they came in."""
    body, call = await body_of(request), call_of(request)
    RERANK.check(body)
    model, documents = model_of(request, body, "rerank"), body["documents"]
    if not 0 < len(documents) <= MOST_DOCUMENTS:
        raise invalid("documents", f"expected 1 to {MOST_DOCUMENTS} documents, got {len(documents)}")
    demand = Demand.of(body["query"])
    await demand.meet()
    queries = -(-sum(_weight(document) for document in documents) // QUERY_DOCUMENTS)
    cost_micros = queries * (model.price.input_micros_per_query or 0)
    call.charge(model.name, cost_micros, documents=len(documents), queries=queries)
    return answer.whole(call, demand, _ranking(body, call.id, queries))


def _weight(document: Any) -> int:
    text = document if isinstance(document, str) else json.dumps(document)
    return max(1, -(-count(text) // DOCUMENT_TOKENS))


def _ranking(body: JsonObject, name: str, queries: int) -> JsonObject:
    shown = min(len(body["documents"]), body.get("top_n") or len(body["documents"]))
    results: list[JsonObject] = [
        {"index": index, "relevance_score": 1 / (1 + index)} for index in range(shown)
    ]
    if body.get("return_documents"):
        for result, document in zip(results, body["documents"], strict=False):
            result["document"] = {"text": document} if isinstance(document, str) else document
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": queries}}
    return {"id": name, "results": results, "meta": meta}
