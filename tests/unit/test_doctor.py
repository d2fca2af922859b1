"""What the doctor works out and reads from answers, without a LiteLLM."""

import io
import wave
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from core.domain.models import Model
from core.domain.routes import PATHS, PROOFLESS, Fences, RouteProof, RouteReport
from core.domain.watch import describe_guard, describe_routes, stale_routes
from operate.database import describe_tpm, describe_triggers
from operate.finding import Verdict
from operate.patient import refused_by
from operate.prices import choose, dearest_call, describe_dearest, describe_prices, examine_models
from operate.setup import read_fallbacks, tried_another
from operate.trials import TRIALS, wav

SMALL = Model("small", None, {"input_cost_per_token": 0.00001, "output_cost_per_token": 0.00002}, 4500)
LARGE = Model("large", "chat", {"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}, 4500)
IMAGE = Model("image", "image_generation", {"output_cost_per_image": 3.0})
MOVED = "litellm.UnsupportedParamsError: not for model={}."
FELL = "{}\n\nLiteLLM: model group 'small' failed with the error above. Fallback to large also failed: {}"


# ---------------------------------------------------------------------- prices


def test_the_dearest_call_is_the_ceiling_of_the_dearest_model_for_each_choice() -> None:
    call = dearest_call([SMALL, LARGE, IMAGE])
    assert call is not None
    assert call.model == "large"
    assert call.dollars == pytest.approx(0.002 * 4500 * 128)
    assert "at least $1,152.00" in describe_dearest(call, 10)


def test_the_dearest_call_counts_images_and_the_highest_step() -> None:
    stepped = Model("long", None, {**SMALL.prices, "output_cost_per_token_above_200k_tokens": 0.004}, 4500)
    for models, dollars in (([SMALL, IMAGE], 30.0), ([LARGE, stepped], 0.004 * 4500 * 128)):
        call = dearest_call(models)
        assert call is not None
        assert call.dollars == pytest.approx(dollars)
    assert "No model has a price" in describe_dearest(dearest_call([Model("free", None, {})]), 10)


def test_the_cheapest_chat_model_with_a_ceiling_is_called() -> None:
    endless = Model("endless", None, {"output_cost_per_token": 0.000001})
    completion = Model("complete", "completion", {"output_cost_per_token": 0.000001}, 10)
    assert choose([LARGE, endless, completion, IMAGE, SMALL]) == SMALL
    assert choose([endless, IMAGE]) == endless
    assert choose([IMAGE]) is None


def test_a_model_that_costs_something_outside_every_wallet_is_broken_not_a_warning() -> None:
    waived = Model("waived", "image_generation", {"output_cost_per_image": 3.0}, None, is_waived=True)
    verdicts = [finding.verdict for finding in examine_models([SMALL, waived], guarded=True)]
    assert verdicts.count(Verdict.BROKEN) == 1
    assert Verdict.WARNING not in verdicts


def test_the_prices_of_service_tiers_matter_where_no_guard_refuses_them() -> None:
    tiered = Model("tiered", None, {**SMALL.prices, "input_cost_per_token_priority": 1.0}, 10)
    texts = {
        guarded: " ".join(finding.text for finding in examine_models([tiered], guarded=guarded))
        for guarded in (False, True)
    }
    assert "service_tier" in texts[False]
    assert "service_tier" not in texts[True]


def test_a_key_that_is_shown_no_models_is_told_so() -> None:
    (finding,) = examine_models([], guarded=True)
    assert (finding.verdict, "shows no models" in finding.text) == (Verdict.WARNING, True)


def test_every_unit_of_a_price_is_listed() -> None:
    assert describe_prices([IMAGE]) == ("image (image_generation): output_cost_per_image $3",)


# ----------------------------------------------------------------- answers read


def answer(status: int = 400, message: str = "", kind: str = "", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, "type": kind}}, headers=headers)


def test_each_models_first_fallback_is_read_from_all_three_kinds() -> None:
    values = {"fallbacks": [{"a": ["b", "c"]}], "context_window_fallbacks": None,
        "content_policy_fallbacks": [{"d": [{"model": "e"}]}]}  # fmt: skip
    assert next(read_fallbacks(values)) == ("a", "b")
    assert len(list(read_fallbacks(values))) == 2


def test_a_fallback_shows_by_the_model_that_the_second_error_names() -> None:
    first, second = MOVED.format("small"), MOVED.format("large")
    assert tried_another(answer(message=FELL.format(first, second))) is True
    assert tried_another(answer(message=FELL.format(first, first))) is False
    skipped = "LiteLLM: Fallback to large was skipped because the caller is not authorized to call it."
    assert tried_another(answer(message=f"{first}\n\n{skipped}")) is False
    assert tried_another(answer(message=first)) is None
    served = httpx.Response(200, json={}, headers={"x-litellm-attempted-fallbacks": "1"})
    assert (tried_another(served), tried_another(httpx.Response(200, json={}))) == (True, None)


def test_a_budget_names_its_owner() -> None:
    assert refused_by(answer(422, "User=u1 over", "budget_exceeded")) == "User"
    assert refused_by(answer(422, "Key=k1 over", "budget_exceeded")) == "Key"
    assert refused_by(answer(422, "User=u1 over", "another")) is None


# --------------------------------------------------------------- guard and routes


@pytest.mark.parametrize(
    ("seen", "shipped", "says"),
    [
        (None, "1.0.0", "not loaded"),
        ("1.0.0", "1.0.0", None),
        ("1.2.0", "1.10.0", "Replace keyfund_guard.py"),
        ("1.10.0", "1.2.0", None),
        ("1.0.0", None, None),
    ],
)
def test_a_guard_is_missing_outdated_or_well(seen: str | None, shipped: str | None, says: str | None) -> None:
    text = describe_guard(seen, shipped)
    assert text is None if says is None else says in str(text)


def report(*routes: str, proved: tuple[tuple[str, str | None], ...] = ()) -> RouteReport:
    """Routes that are open, and proofs of images by version and guard."""
    proofs = tuple(
        RouteProof("images", "m", version, guard, datetime.now(UTC), counts=True) for version, guard in proved
    )
    return RouteReport(Fences((*PROOFLESS, *routes), {}, 10, 20), proofs, (), None, None, None)


def test_an_open_route_is_stale_until_it_is_proved_for_the_litellm_that_runs() -> None:
    assert stale_routes(report(), "1.0", None) == ()
    assert stale_routes(report("images", proved=(("1.0", "g"),)), "1.0", "g") == ()
    assert stale_routes(report("images", proved=(("1.0", "g"),)), "1.1", "g") == ("images",)
    assert stale_routes(report("images", proved=(("1.0", "g"),)), "1.0", None) == ("images",)
    assert stale_routes(report("images", proved=(("1.0", None),)), "1.0", None) == ()
    assert describe_routes(report("images"), None, None) is None
    assert "images" in str(describe_routes(report("images"), "1.1", "g"))


# ------------------------------------------------------------------------ trials


def test_every_route_that_needs_a_proof_has_a_trial_on_its_own_path() -> None:
    assert TRIALS.keys() == PATHS.keys() - set(PROOFLESS)
    assert all(trial.path in PATHS[name] for name, trial in TRIALS.items())


def test_the_wav_is_a_wav_of_two_seconds() -> None:
    with wave.open(io.BytesIO(wav())) as sound:
        assert sound.getnframes() / sound.getframerate() == 2


@pytest.mark.parametrize(
    ("route", "prices", "usage", "dollars"),
    [
        ("images", {"output_cost_per_image": 3.0}, {}, 6.0),
        ("speech", {"input_cost_per_character": 0.001}, {}, 0.033),
        ("transcriptions", {"input_cost_per_second": 1.0}, {}, 2.0),
        ("rerank", {"input_cost_per_query": 0.5}, {}, 0.5),
        ("responses", LARGE.prices, {"input_tokens": 10, "output_tokens": 3}, 0.016),
        ("messages", LARGE.prices, {"input_tokens": 10, "output_tokens": 3}, 0.016),
        ("moderations", {}, {}, 0.0),
    ],
)
def test_a_trial_knows_the_price_of_what_it_asks(
    route: str, prices: dict[str, float], usage: dict[str, Any], dollars: float
) -> None:
    trial = TRIALS[route]
    model = Model("m", trial.mode, prices)
    assert trial.dollars(model, httpx.Response(200, json={"usage": usage})) == pytest.approx(dollars)
    assert trial.most_dollars(model) >= dollars


# ------------------------------------------------------------ Keyfund's own database


@pytest.mark.parametrize(
    ("key_tpm_limit", "verdict", "told"),
    [
        (10_000, Verdict.WARNING, "A new key may use 10,000 tokens a minute: LiteLLM answers a prompt"),
        (200_000, Verdict.OK, "A new key may use 200,000 tokens a minute."),
    ],
)
def test_an_operator_is_told_how_much_a_new_key_may_use(
    key_tpm_limit: int, verdict: Verdict, told: str
) -> None:
    finding = describe_tpm(key_tpm_limit)
    assert finding.verdict is verdict
    assert finding.text.startswith(told)


def test_missing_triggers_are_named_with_what_puts_them_back() -> None:
    assert describe_triggers([]).verdict is Verdict.OK
    finding = describe_triggers(["keyfund_new_user", "keyfund_deleted_user"])
    assert finding.verdict is Verdict.WARNING
    assert "keyfund_new_user, keyfund_deleted_user" in finding.text
    assert "select keyfund.follow_users();" in finding.text
