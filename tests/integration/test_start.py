"""How the two processes start: without a feature, with wrong settings, with another credit value."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from dev.stack import ROOT, free_port
from tests.integration.world import World, until

FEATURES = ("LITELLM_BASE_URL", "LITELLM_MASTER_KEY", "PAYSTACK_BASE_URL", "PAYSTACK_SECRET_KEY")


def run(process: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", process]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def webhook(env: dict[str, str]) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "webhook"], cwd=ROOT, env={**env, "WEBHOOK_PORT": str(port)}
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers, what="the webhook starts")
        yield url
    finally:
        process.terminate()
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)


def test_without_litellm_and_paystack_their_routes_say_so_and_the_rest_works(world: World) -> None:
    env = {name: value for name, value in world.env.items() if name not in FEATURES}
    user = world.sign_up()
    with webhook(env) as url:
        client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {user.token}"})
        raw = b'{"event":"charge.success","data":{}}'
        answers = {
            "checkout": client.post("/api/credits/checkout", json={"package_id": "starter-ngn"}),
            "create": client.post("/api/keys/manage", json={}),
            "webhook": client.post(
                "/webhooks/paystack", content=raw, headers={"x-paystack-signature": "0" * 128}
            ),
        }
        for name, answer in answers.items():
            assert answer.status_code == 503, name
            assert answer.json()["error"]["code"].endswith("_not_configured")
        status = client.get("/api/status").json()
        assert status["litellm"]["configured"] is False
        assert status["paystack"]["configured"] is False
        assert client.get("/api/keys/manage").json()["litellm"] == {
            "status": "not_configured",
            "base_url": None,
        }
        assert client.get("/api/credits/packages").json()["packages"]


@pytest.mark.parametrize("process", ["webhook", "worker"])
@pytest.mark.parametrize(("name", "value"), [("PAYSTACK_SECRET_KEY", ""), ("SUPABASE_URL", "nonsense")])
def test_a_wrong_setting_stops_the_process_with_one_line(
    world: World, process: str, name: str, value: str
) -> None:
    ended = run(process, {**world.env, name: value})
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert name in ended.stderr


@pytest.mark.parametrize("process", ["webhook", "worker"])
def test_another_credit_value_is_refused(world: World, process: str) -> None:
    ended = run(process, {**world.env, "CREDIT_VALUE_CENTS": "3", "WEBHOOK_PORT": str(free_port())})
    assert ended.returncode != 0
    assert "CREDIT_VALUE_CENTS is 3 here" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_metrics_are_for_whoever_has_the_token(world: World) -> None:
    with webhook({**world.env, "METRICS_TOKEN": "a-token-of-the-operators"}) as url:
        assert httpx.get(f"{url}/metrics").status_code == 401
        assert httpx.get(f"{url}/metrics", headers={"Authorization": "Bearer nonsense"}).status_code == 401
        answer = httpx.get(f"{url}/metrics", headers={"Authorization": "Bearer a-token-of-the-operators"})
    assert answer.status_code == 200
    assert "keyfund_litellm_answers 1.0" in answer.text
    assert 'keyfund_backlog{kind="keys"}' in answer.text
    assert world.http.get(f"{world.env['WEBHOOK_BASE_URL']}/metrics").status_code == 404
