"""A model that the doctor calls broken: the development stack has none, and attacks and proofs need it."""

from dataclasses import replace

from dev.litellm import Proxy, config

ZERO_IMAGE = {
    "model_name": "live-zero-image",
    "litellm_params": {
        "model": "openai/live-zero-image",
        "api_base": "os.environ/PROVIDER_BASE_URL",
        "api_key": "os.environ/PROVIDER_API_KEY",
    },
    "model_info": {
        "mode": "image_generation",
        "input_cost_per_token": 0,
        "output_cost_per_token": 0,
        "output_cost_per_image": 3,
    },
}
"""Its pictures cost money and its tokens nothing, so LiteLLM asks no wallet."""


def odd(proxy: Proxy) -> Proxy:
    """The same with that model, unless its settings name models of their own."""
    return replace(proxy, settings={"model_list": [*config.models(), ZERO_IMAGE], **proxy.settings})
