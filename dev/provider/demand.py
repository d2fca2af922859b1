"""What a request's own text demands of the provider: to be slow, to fail, to end before its time."""

import asyncio
import re
from dataclasses import dataclass
from typing import Final, Self

from dev.provider.refusal import RefusedError

_DELAY: Final = re.compile(r"\[delay (\d+(?:\.\d+)?)\]")
_PACE: Final = re.compile(r"\[pace (\d+(?:\.\d+)?)\]")
_FAIL: Final = re.compile(r"\[fail (\d{3})( midway)?\]")
_CUT: Final = re.compile(r"\[cut\]")


@dataclass(frozen=True)
class Demand:
    """How a call is to go wrong; nothing of it without such words in the text.

    `[delay 2]` waits before the answer, `[pace 0.1]` between the pieces of a stream, `[fail 503]` answers so
    and bills nothing, `[fail 500 midway]` breaks a stream off with an error, `[cut]` closes the connection in
    the middle of the answer. Times are in seconds.
    """

    delay_seconds: float = 0.0
    pace_seconds: float = 0.0
    fail_status: int | None = None
    fail_midway: bool = False
    cut: bool = False

    @classmethod
    def of(cls, text: str) -> Self:
        """The demand that stands in a text; the first of each kind counts."""
        fail = _FAIL.search(text)
        return cls(
            delay_seconds=_seconds(_DELAY, text),
            pace_seconds=_seconds(_PACE, text),
            fail_status=int(fail[1]) if fail and not fail[2] else None,
            fail_midway=bool(fail and fail[2]),
            cut=bool(_CUT.search(text)),
        )

    async def meet(self) -> None:
        """Wait, then fail, as far as that is demanded."""
        await asyncio.sleep(self.delay_seconds)
        if self.fail_status is not None:
            raise RefusedError(self.fail_status, "The provider failed, as the request demanded.")


def _seconds(pattern: re.Pattern[str], text: str) -> float:
    found = pattern.search(text)
    return float(found[1]) if found else 0.0
