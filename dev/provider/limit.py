"""How much a text model is asked to generate, in all the spellings that vendors have for it.

The provider goes by whichever names the most: a field that a vendor would read, and that LiteLLM or a guard
let through without reserving for it, shows on the bill.
"""

from typing import Final

from dev.provider import field
from dev.provider.price import Model
from dev.provider.refusal import JsonObject

TOKENS: Final = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_new_tokens",
    "max_tokens_to_sample",
    "max_length",
    "min_tokens",
    "min_new_tokens",
    "generationConfig.maxOutputTokens",
    "generation_config.max_output_tokens",
    "inferenceConfig.maxTokens",
    "parameters.max_new_tokens",
)
CHOICES: Final = (
    "n",
    "best_of",
    "num_completions",
    "num_return_sequences",
    "generationConfig.candidateCount",
    "generation_config.candidate_count",
)
MOST_CHOICES: Final = 128


def tokens_of(body: JsonObject, model: Model) -> int:
    """Tokens to generate for each choice: the largest limit given, or the model's ceiling."""
    given = [field.integer(body, name, 1, model.output_tokens) for name in TOKENS]
    return max((value for value in given if value is not None), default=model.output_tokens)


def choices_of(body: JsonObject) -> int:
    """Choices to generate for each prompt."""
    return max(field.integer(body, name, 1, MOST_CHOICES) or 1 for name in CHOICES)
