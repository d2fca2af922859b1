"""No secret reaches a log line, whoever writes it."""

import json
import logging

import pytest
import stamina
from stamina import instrumentation

from core.logs import configure_logs, get_logger, redact

SECRETS = [
    "sk-kf-8f1c2a90b7e64c1d",
    "sk_live_00112233445566778899",
    "sb_secret_abcdefghijkl",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "AUTH_p7c3w0x9mk",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_wherever_it_stands(secret: str) -> None:
    hidden = redact({"a": f"x {secret} y", "b": [secret], "c": {"d": (secret,)}})
    assert secret not in json.dumps(hidden)
    assert hidden["a"] == "x [hidden] y"


def test_a_password_in_an_address_is_hidden() -> None:
    assert redact("postgresql://postgres:hunter2@db/x") == "postgresql://[hidden]@db/x"


def test_ours_libraries_and_tracebacks_are_json_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "test")
    try:
        get_logger().info("sync.pushed", key=SECRETS[0])
        logging.getLogger("some.library").warning("refused %s", SECRETS[1])
        try:
            raise ValueError(SECRETS[2])
        except ValueError:
            logging.getLogger("some.library").exception("broke")
    finally:
        logging.getLogger().handlers = []
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["sync.pushed", "refused [hidden]", "broke"]
    assert "ValueError: [hidden]" in lines[2]["exception"]
    assert not any(secret in json.dumps(lines) for secret in SECRETS)


def test_a_repeated_call_is_not_logged_by_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    hooks = instrumentation.get_on_retry_hooks()
    configure_logs("info", "test")
    tries = iter((ConnectionError, None))
    try:
        for attempt in stamina.retry_context(on=ConnectionError, attempts=2, wait_max=0):
            with attempt:
                if error := next(tries):
                    raise error
    finally:
        logging.getLogger().handlers = []
        instrumentation.set_on_retry_hooks(hooks)
    assert capsys.readouterr().err == ""
