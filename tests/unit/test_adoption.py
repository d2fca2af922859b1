"""Adoption: who may take over which key, what is said before anything is done, files that make no sense."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest

from core.domain.adoption import Adoptee, Adoption, Refusal, Request, judge
from core.domain.drift import ListedKey
from core.domain.keys import ObservedKey
from core.errors import RefusedError, TransientError
from core.flows.adopt import Adopter
from core.gateways.litellm import LiteLLM
from core.store import ServiceStore
from operate.adopt import FileError, _carry_out, describe, read_requests
from tests.unit.test_decisions import FENCES

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "sk-older-0123456789abcdef"
HASH = sha256(KEY.encode()).hexdigest()
REQUEST = Request(2, KEY, HASH, "ana@example.com", "laptop")
FREE = Adoptee({"u1": "active"}, holder=None, owner_is_ours=False, fences=FENCES)
OLD = ListedKey(
    HASH,
    ObservedKey(
        user_id=None, team_id=None, blocked=False, budget_cents=500, budget_duration="1d", rpm_limit=60,
        tpm_limit=None,
    ),
    installation_id=None,
    preview="sk-...cdef",
    budget_micros=5_000_000,
    spend_micros=1_230_000,
)  # fmt: skip


def old(listed: ListedKey = OLD, **shown: Any) -> ListedKey:
    return replace(listed, shown=replace(listed.shown, **shown))


def adoption(listed: ListedKey = OLD) -> Adoption:
    made = judge(REQUEST, listed, FREE, NOW)
    assert isinstance(made, Adoption)
    return made


def test_cap_reset_and_limits_are_kept_and_each_is_said() -> None:
    made = adoption()
    assert (made.user_id, made.budget_cents, made.budget_duration) == ("u1", 500, "1d")
    assert (made.rpm_limit, made.tpm_limit, made.blocked, made.preview) == (60, None, False, "sk-...cdef")
    assert made.effects == (
        "owner set (was none)",
        "cap $5.00 kept, fixed",
        "reset every 1d kept as the cap's period",
        "60 requests and any tokens a minute kept",
        "its routes become chat, completions, embeddings (it could make keys)",
        "10 calls at once (was any)",
        "$1.23 spent before stays off the wallet, but counts against the cap",
    )


def test_a_key_without_a_cap_gets_the_wallet_s() -> None:
    made = adoption(old(replace(OLD, budget_micros=None), budget_cents=None, budget_duration=None))
    assert (made.budget_cents, made.budget_duration) == (None, None)
    assert made.effects[1:3] == ("no cap: it becomes the wallet", "no reset, as before")


def test_its_models_and_its_end_are_kept_and_said() -> None:
    ends = NOW + timedelta(days=9)
    made = adoption(old(models=("a", "b"), expires_at=ends))
    assert (made.models, made.expires_at) == (("a", "b"), ends)
    assert {"may still use a, b alone", "still expires on 2026-01-10"} <= set(made.effects)


@pytest.mark.parametrize("models", [(), ("all-proxy-models",), ("a", "all-proxy-models")])
def test_a_key_for_all_models_stays_one(models: tuple[str, ...]) -> None:
    assert adoption(old(models=models)).models is None


def test_a_blocked_key_is_never_let_loose() -> None:
    made = adoption(old(blocked=True))
    assert made.blocked
    assert "stays blocked, as by an administrator" in made.effects


def test_a_cap_of_no_whole_cents_is_rounded_and_said() -> None:
    made = adoption(old(replace(OLD, budget_micros=1_234_000), budget_cents=123))
    assert made.effects[1] == "cap $1.23, fixed (was $1.234)"


@pytest.mark.parametrize(
    ("adoptee", "reason"),
    [
        (replace(FREE, accounts={}), "no account has this id"),
        (replace(FREE, accounts={"u1": "active", "u2": "active"}), "several accounts"),
        (replace(FREE, accounts={"u1": "suspended"}), "the account is suspended"),
        (replace(FREE, holder="u2"), "it belongs to account u2"),
    ],
)
def test_an_account_that_may_not_have_it_is_refused(adoptee: Adoptee, reason: str) -> None:
    refused = judge(REQUEST, OLD, adoptee, NOW)
    assert isinstance(refused, Refusal)
    assert not refused.done
    assert reason in refused.reason


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        (None, "LiteLLM does not know it"),
        (replace(OLD, installation_id="i2"), "made by a Keyfund"),
        (old(team_id="t1"), "it belongs to team t1"),
        (replace(OLD, kind="management"), "its key_type is management"),
        (replace(OLD, kind="read_only"), "its key_type is read_only"),
        (old(routes=("management_routes",)), "allowed_routes are more than model calls"),
        (old(routes=("info_routes",)), "more than model calls: info_routes"),
        (old(expires_at=NOW - timedelta(days=1)), "it expired on 2025-12-31"),
        (old(rpm_limit=0), "its rpm_limit of 0 is not between 1"),
        (old(tpm_limit=2**31), "its tpm_limit"),
        (old(replace(OLD, budget_micros=4_000), budget_cents=0), "less than a cent"),
        (old(replace(OLD, budget_micros=10**14), budget_cents=10**10), "too large"),
    ],
)
def test_a_key_that_no_wallet_could_hold_is_refused_and_told_why(
    listed: ListedKey | None, reason: str
) -> None:
    refused = judge(REQUEST, listed, FREE, NOW)
    assert isinstance(refused, Refusal)
    assert reason in refused.reason


def test_a_key_that_is_another_account_s_in_litellm_is_refused_and_a_stranger_s_is_not() -> None:
    ours = replace(FREE, owner_is_ours=True)
    assert isinstance(judge(REQUEST, old(user_id="u2"), ours, NOW), Refusal)
    same = judge(REQUEST, old(user_id="u1"), ours, NOW)
    assert isinstance(same, Adoption)
    assert same.effects[0] == "owner kept"
    assert adoption(old(user_id="bob")).effects[0] == "owner set (was bob)"


def test_what_was_adopted_before_is_nothing_to_do() -> None:
    again = judge(REQUEST, OLD, replace(FREE, holder="u1", owner_is_ours=True), NOW)
    assert isinstance(again, Refusal)
    assert again.done


@pytest.mark.parametrize("routes", [("llm_api_routes",), ("/v1/chat/completions",)])
def test_a_key_for_model_calls_alone_gets_the_open_routes_and_that_is_said(routes: tuple[str, ...]) -> None:
    made = adoption(old(replace(OLD, kind="llm_api"), routes=routes))
    assert "its routes become chat, completions, embeddings" in made.effects


def test_of_a_key_within_the_fences_already_nothing_is_said_of_them() -> None:
    made = adoption(old(routes=FENCES.paths, max_parallel=10))
    assert not any("routes" in one or "at once" in one for one in made.effects)


# ----------------------------------------------------------------------- file


def written(folder: Path, text: str) -> Path:
    file = folder / "keys.csv"
    file.write_text(text)
    return file


def test_a_line_names_a_key_by_its_string_or_its_hash(tmp_path: Path) -> None:
    file = written(
        tmp_path, f"key,account,name\n{KEY},ana@example.com,laptop\n{'a' * 64},u2,\nsk-1234,u3,x\n"
    )
    assert read_requests(file) == [
        Request(2, KEY, HASH, "ana@example.com", "laptop"),
        Request(3, None, "a" * 64, "u2", "Key"),
        # Too short for a string of ours: its hash is enough.
        Request(4, None, sha256(b"sk-1234").hexdigest(), "u3", "x"),
    ]


def test_lines_that_make_no_sense_are_refused_one_by_one(tmp_path: Path) -> None:
    lines = [f"{KEY},u1,a", f"{HASH},u2,b", ",u1,c", f"{'b' * 64},,d", f"{'c' * 64},u1,{'n' * 101}"]
    told = read_requests(written(tmp_path, "key,account,name\n" + "\n".join(lines)))
    assert [one.reason if isinstance(one, Refusal) else None for one in told] == [
        None,
        "the key is in the file twice",
        "the line names no key",
        "the line names no account",
        "its name has more than 100 characters",
    ]


@pytest.mark.parametrize("text", ["", "key,account\na,b\n", "key,account,name\n", "\0"])
def test_another_kind_of_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(FileError):
        read_requests(written(tmp_path, text))
    with pytest.raises(FileError, match="cannot be read"):
        read_requests(tmp_path / "nowhere.csv")


def test_no_line_on_the_screen_holds_a_key() -> None:
    for outcome in (adoption(), Refusal(REQUEST, "no")):
        for really in (True, False):
            text = describe(outcome, really=really)
            assert KEY not in text
            assert "sk-...cdef" in text


# ----------------------------------------------------------------------- flow


class Fake:
    """The database and LiteLLM in one, with one old key."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal
        self.adopted: list[Adoption] = []

    async def find_key(self, key_hash: str) -> ListedKey | None:
        return OLD if key_hash == HASH else None

    async def find_adoptee(self, _account: str, _key_hash: str, _owner: str | None) -> Adoptee:
        return FREE

    async def adopt_key(self, made: Adoption) -> bool:
        if self.refusal:
            raise self.refusal
        self.adopted.append(made)
        return True


def adopter(fake: Fake) -> Adopter:
    return Adopter(cast(ServiceStore, fake), cast(LiteLLM, fake))


async def test_nothing_is_done_until_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake()
    unknown = Request(3, None, "a" * 64, "u1", "x")
    assert await _carry_out(adopter(fake), [REQUEST, unknown], really=False) == 1
    assert fake.adopted == []
    text = capsys.readouterr().out
    assert "line 2: sk-...cdef would go to ana@example.com (u1): owner set (was none); cap" in text
    assert "line 3: aaaaaaaaaaaa…: REFUSED: LiteLLM does not know it" in text
    assert "1 to adopt, 1 refused. Nothing was changed; --yes does it." in text
    assert await _carry_out(adopter(fake), [REQUEST], really=True) == 0
    assert [one.user_id for one in fake.adopted] == ["u1"]
    assert "1 adopted, 0 refused." in capsys.readouterr().out


async def test_what_changed_since_it_was_considered_is_a_refusal_and_an_outage_is_none() -> None:
    taken = Fake(RefusedError("key_taken", "This key belongs to another account.", status=409))
    assert await _carry_out(adopter(taken), [REQUEST], really=True) == 1
    away = Fake(TransientError("database_unavailable", "The database cannot be reached."))
    with pytest.raises(TransientError):
        await _carry_out(adopter(away), [REQUEST], really=True)
