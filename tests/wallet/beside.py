"""One more LiteLLM on a running stack's database: set up another way, or with a guard that is wrong."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from dev import litellm, provider
from dev.child import Child
from dev.litellm import Proxy
from dev.stack import ROOT, Stack, free_port
from tests.odd import odd
from tests.wallet.site import Site

NUMBERS = count(1)


def site_of(stack: Stack) -> Site:
    """The stack's own LiteLLM."""
    env = stack.env
    return Site(env["LITELLM_BASE_URL"], env["LITELLM_MASTER_KEY"], env["PROVIDER_BASE_URL"])


@contextmanager
def beside(stack: Stack, proxy: Proxy, change: Callable[[str], str] | None = None) -> Iterator[Site]:
    """A LiteLLM of its own; ``change`` makes another guard of the guard's text."""
    name, port = f"litellm-{next(NUMBERS)}", free_port()
    home = stack.home / name
    part = litellm.part(
        ROOT,
        database_url=stack.address.url("litellm", "litellm"),
        port=port,
        master_key=stack.master_key,
        home=home,
        proxy=odd(proxy),
        env=provider.env(stack.env["PROVIDER_BASE_URL"], stack.provider_key),
    )
    if change:
        guard = home / "keyfund_guard.py"
        guard.write_text(change(guard.read_text()))
    assert stack.reaper is not None
    child = Child(part, stack.logs / f"{name}.log", stack.reaper.marks)
    stack.reaper.add(child.spawn())
    try:
        child.wait_ready()
        yield Site(part.url, stack.master_key, stack.env["PROVIDER_BASE_URL"])
    finally:
        child.stop()
