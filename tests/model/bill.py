"""What an account really spent, and what LiteLLM may be excused for letting it spend twice."""

from dataclasses import dataclass


@dataclass
class Bill:
    """One account's truth, in micro-dollars over all of LiteLLM's lives.

    When LiteLLM forgets spend, nobody knows until it is next looked at: until then what it forgot may be
    spent once more, and not a micro-dollar beyond that.
    """

    spent: int = 0
    forgotten: int = 0
    exposed: int = 0
    excused: int = 0
    dropped: int = 0
    open_since: int | None = None
    tampered: bool = False
    ever_tampered: bool = False

    def spend(self, micros: int) -> None:
        self.spent += micros
        self.exposed += micros if self.open_since is not None else 0

    def forget(self, lost: int, unseen: int, now: int) -> None:
        """LiteLLM lost so much of the spend, of which we had not seen so much."""
        self.forgotten += lost
        self.exposed += unseen
        self.open_since = now

    def drop(self, micros: int, now: int) -> None:
        """The wallet fell by so much, which LiteLLM has to be told first."""
        self.dropped += micros
        self.open_since = now

    def tamper(self, now: int) -> None:
        """Somebody changed LiteLLM behind our back."""
        self.open_since = now
        self.tampered = self.ever_tampered = True

    def notice(self, began: int) -> None:
        """A push that began then has confirmed the wallet."""
        if self.open_since is not None and began > self.open_since:
            self.excused = self.slack
            self.forgotten = self.exposed = self.dropped = 0
            self.open_since, self.tampered = None, False

    @property
    def slack(self) -> int:
        return self.excused + min(self.forgotten, self.exposed)
