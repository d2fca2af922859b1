"""Units. The database counts integers; LiteLLM alone speaks dollars as floats."""

MICROS_PER_DOLLAR = 1_000_000
CENTS_PER_DOLLAR = 100


def micros_from_dollars(dollars: float) -> int:
    """Round, never floor: LiteLLM's spend is a sum of floats and may fall short by a hair."""
    return round(dollars * MICROS_PER_DOLLAR)


def dollars_from_micros(micros: int) -> float:
    return micros / MICROS_PER_DOLLAR


def dollars_from_cents(cents: int) -> float:
    return cents / CENTS_PER_DOLLAR


def cents_from_dollars(dollars: float) -> int:
    return round(dollars * CENTS_PER_DOLLAR)
