"""LiteLLM's counters and the guard without HTTP: examines calls that a test describes, a line of JSON each.

Run by the Python of LiteLLM's virtual environment, with the models and the Redis in the first line. What the
guard is called with here is what LiteLLM's proxy was seen to call it with.
"""

import asyncio
import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

import litellm
from litellm.proxy import litellm_pre_call_utils as pre_call
from litellm.proxy import proxy_server
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

Json = Any


def load(file: str) -> ModuleType:
    """The guard from that file, as LiteLLM loads it, in the place of any before it."""
    litellm.keyfund_guard = None
    spec = importlib.util.spec_from_file_location("keyfund_guard", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Desk:
    """One LiteLLM worker. Calls stay in flight until they are told to end."""

    def __init__(self, setup: Json) -> None:
        proxy_server.llm_router = litellm.Router(model_list=setup["models"], **setup.get("router", {}))
        if redis := setup.get("redis"):
            from litellm.caching.redis_cache import RedisCache
            from litellm.caching.redis_cluster_cache import RedisClusterCache

            kind = RedisClusterCache if "startup_nodes" in redis else RedisCache
            proxy_server.spend_counter_cache.redis_cache = kind(**redis)
        self.module = load(setup["guard"])
        self.settling: set[asyncio.Task[None]] = set()
        self.ends: dict[str, asyncio.Event] = {}
        self.calls: dict[str, asyncio.Task[Json]] = {}
        self.entered: dict[str, asyncio.Future[Json]] = {}

    async def answer(self, asked: Json) -> Json:
        return await getattr(self, f"do_{asked.pop('do')}")(**asked)

    async def do_load(self, guard: str, constants: Json | None = None) -> Json:
        self.module = load(guard)
        for name, value in (constants or {}).items():
            setattr(self.module, name, value)
        return {}

    async def do_admit(self, calls: Json) -> Json:
        """Have these calls examined at once; those that are let through stay in flight."""
        await self.do_begin(calls)
        return [await self.entered[call["id"]] for call in calls]

    async def do_begin(self, calls: Json) -> Json:
        """Begin to have them examined, and do not wait for it."""
        for call in calls:
            self.ends[call["id"]] = asyncio.Event()
            self.entered[call["id"]] = asyncio.get_running_loop().create_future()
            self.calls[call["id"]] = asyncio.create_task(self.one(call))
        return {}

    async def one(self, call: Json) -> None:
        key = make_key(call)
        data = make_data(call, key)
        entered = self.entered[call["id"]]
        try:
            await self.module.guard.async_pre_call_hook(key, None, data, call["call_type"])
        except ProxyException as error:
            entered.set_result(
                {
                    "status": error.status_code,
                    "type": error.type,
                    "param": error.param,
                    "message": error.message,
                }
            )
            return
        held = key.budget_reservation
        names = ("max_tokens", "max_completion_tokens", "max_output_tokens", "stream_options")
        sent = {name: data.get(name) for name in names}
        entered.set_result({"status": 200, "held": held and held["reserved_cost"], "sent": sent})
        await self.ends[call["id"]].wait()
        if held is not None and call.get("costs") is not None:
            held["callback_bound"] = True
            settling = asyncio.create_task(settle(held, call["costs"], call.get("settled_after", 0)))
            if not call.get("settled_after"):
                await settling
            self.settling.add(settling)

    async def do_end(self, ids: Json) -> Json:
        for one in ids:
            self.ends[one].set()
        await asyncio.gather(*(self.calls.pop(one) for one in ids), return_exceptions=True)
        return await self.do_settled()

    async def do_settled(self) -> Json:
        """Wait until the guard has nothing left to write."""
        while self.module.RUNNING:
            await asyncio.gather(*self.module.RUNNING, return_exceptions=True)
        return {}

    async def do_cut(self, ids: Json) -> Json:
        """As a client that hangs up: the request's task is cancelled."""
        for one in ids:
            self.calls[one].cancel()
        return await self.do_end(ids)

    async def do_second(self, call: Json) -> Json:
        """Ask a second copy of the guard in the same LiteLLM."""
        first = self.module
        spec = importlib.util.spec_from_file_location("another_name", first.__file__)
        assert spec is not None
        assert spec.loader is not None
        second = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(second)
        key = make_key(call)
        await second.guard.async_pre_call_hook(key, None, make_data(call, key), call["call_type"])
        return {"status": 200, "held": key.budget_reservation}

    async def do_counter(self, counter: str) -> Json:
        value, _ = await proxy_server.read_spend_counter_cache_value(counter_key=counter)
        return value

    async def do_spend(self, counter: str, dollars: float) -> Json:
        return await proxy_server.increment_spend_counter_cache(counter, dollars)

    async def do_spent_before(self, user_id: str, dollars: float) -> Json:
        """What LiteLLM's database has of somebody, of whom nothing is counted yet."""
        await proxy_server.user_api_key_cache.async_set_cache(user_id, {"spend": dollars})
        return {}

    async def do_in_flight(self) -> Json:
        return sum(1 for call in self.module.guard.calls.mine.values() if call.takes_place)

    async def do_pass_time(self, seconds: float) -> Json:
        """Move the clock of LiteLLM's memory on, as if nothing had been asked meanwhile."""
        memory = proxy_server.spend_counter_cache.in_memory_cache
        clock = memory._clock
        memory._clock = lambda: clock() + seconds
        return {}

    async def do_now(self) -> Json:
        await asyncio.sleep(0.05)  # its own tasks have their turn
        return asyncio.get_running_loop().time()

    async def do_renew(self) -> Json:
        await self.module.guard.calls.renew_once()
        return {}

    async def do_time(self, call: Json, times: int) -> Json:
        """Seconds of each examination of a call. What the guard does afterwards goes on beside them."""
        import time

        spent = []

        async def one() -> None:
            key = make_key(call)
            data = make_data(call, key)
            began = time.perf_counter()
            await self.module.guard.async_pre_call_hook(key, None, data, call["call_type"])
            spent.append(time.perf_counter() - began)
            if key.budget_reservation is not None:
                key.budget_reservation["callback_bound"] = True  # it is settled here, as LiteLLM does
                await self.module._release(key.budget_reservation)

        for _ in range(times):
            await asyncio.create_task(one())
        return spent


async def settle(held: Json, cost: float, seconds: float) -> None:
    """What LiteLLM does some time after an answer."""
    from litellm.proxy.spend_tracking.budget_reservation import reconcile_budget_reservation

    await asyncio.sleep(seconds)
    await reconcile_budget_reservation(held, cost)


def make_key(call: Json) -> UserAPIKeyAuth:
    return UserAPIKeyAuth(
        token=call.get("token", "hash-of-a-key"),
        user_id=call.get("user_id", "somebody"),
        max_budget=call.get("cap"),
        user_max_budget=call.get("wallet", 10.0),
        metadata=call.get("mark", {"keyfund": "here"}),
        budget_reservation=call.get("reserved"),
    )


def make_data(call: Json, key: UserAPIKeyAuth) -> Json:
    """What the proxy hands to a hook: the body, LiteLLM's own fields, and a copy of the body as it came."""
    bucket = "litellm_metadata" if call["call_type"] == "aresponses" else "metadata"
    body = json.loads(json.dumps(call["body"]))
    sent = body.get(bucket)
    added = {"headers": {}, "used_client_oauth_token": False, "requester_metadata": sent or {}}
    body[bucket] = {
        **(sent if isinstance(sent, dict) else {}),
        **added,
        "user_api_key_hash": "",
        "user_api_key_auth": key,
    }
    data = dict(body)
    hidden = pre_call._TRANSPORT_ONLY_CREDENTIAL_KEYS | pre_call._CALLBACK_CREDENTIAL_KEYS
    data["proxy_server_request"] = {
        "url": "http://127.0.0.1/v1/any" + call.get("query", ""),
        "headers": call.get("headers", {}),
        "body": {name: value for name, value in body.items() if name not in hidden},
        "credential_fields": sorted(pre_call._TRANSPORT_ONLY_CREDENTIAL_KEYS & body.keys()),
    }
    if "file" in call:
        import io

        data["file"] = io.BytesIO(bytes.fromhex(call["file"]))
    return data


async def main() -> None:
    loop = asyncio.get_running_loop()
    desk = Desk(json.loads(await loop.run_in_executor(None, sys.stdin.readline)))
    print("ready", flush=True)  # noqa: T201
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await desk.answer(json.loads(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
