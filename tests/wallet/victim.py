"""Somebody who owns things in LiteLLM and at the provider, which no other customer may see or change."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex

from tests.integration.world import until
from tests.wallet.customers import Customer
from tests.wallet.site import Json, Site

SECRET = "what-the-victim-asked"


@dataclass(frozen=True)
class Victim:
    """``ids`` are values for the parameters of routes; ``secrets`` may stand in nobody else's answers."""

    customer: Customer
    ids: Mapping[str, str]
    secrets: Mapping[str, str]

    @classmethod
    def of(cls, site: Site, customer: Customer) -> "Victim":
        """Have the customer own something of each kind that the provider keeps."""
        secret = f"{SECRET}-{token_hex(8)}"
        key = operators_key(site, customer)
        digest = sha256(customer.key.encode()).hexdigest()
        made = {
            "file": created(site, key, "/v1/files", **uploaded(secret)),
            "response": created(site, key, "/v1/responses", json=asked(secret)),
        }
        made["batch"] = created(site, key, "/v1/batches", json=batch_of(made["file"]))
        until(lambda: site.user(customer.id)["spend"] > 0, what="LiteLLM writes what the response cost")
        ids = {"user": customer.id, "key": digest, "token": digest, **made}
        said = {"prompt": secret, "address": customer.user.email, "key": customer.key}
        return cls(customer, ids, said)

    def state(self, site: Site) -> Json:
        """What LiteLLM has about the victim."""
        key = site.manage("GET", "/key/info", params={"key": self.ids["key"]}).json()["info"]
        return {"user": site.user(self.customer.id), "key": key}


def operators_key(site: Site, customer: Customer) -> str:
    """A key of the customer's without a route list, as an operator could make it by hand."""
    body = {"user_id": customer.id, "key_type": "llm_api", "key": f"sk-{token_hex(16)}"}
    assert site.manage("POST", "/key/generate", json=body).status_code == 200
    return body["key"]


def created(site: Site, key: str, path: str, **request: object) -> str:
    answer = site.ask(key, "POST", path, **request)
    assert answer.status_code == 200, f"{path}: {answer.text}"
    return str(answer.json()["id"])


def uploaded(secret: str) -> Json:
    line = f'{{"custom_id": "{secret}", "method": "POST", "url": "/v1/chat/completions", "body": {{}}}}\n'
    form = {"purpose": "batch", "custom_llm_provider": "openai"}
    return {"data": form, "files": {"file": ("batch.jsonl", line.encode())}}


def asked(secret: str) -> Json:
    return {"model": "live-small", "input": secret, "max_output_tokens": 16}


def batch_of(file: str) -> Json:
    return {
        "model": "live-small",
        "input_file_id": file,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
