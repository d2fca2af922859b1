"""What goes wrong on demand: webhooks that come twice, late, never; an API that fails."""

from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Final

from dev.paystack.refusal import invalid
from dev.paystack.wire import JsonObject

_ALL: Final = True  # a count of `true` means: until reset


@dataclass
class Fault:
    """How the next calls to matching API routes fail. Without a status, hang or cut it only delays."""

    route: str = "*"  # "POST /transaction/initialize", "GET /transaction/verify/:reference", "*"
    count: int | None = 1  # None: until reset
    status: int | None = None
    retry_after: int | str | None = None
    body: str = "json"  # json | html | empty
    delay_seconds: float = 0.0
    hang_seconds: float | None = None
    cut: bool = False
    when: str = "before"  # before | after the call has taken effect

    def matches(self, method: str, path: str) -> bool:
        """Whether a call is meant; `:name` and `*` stand for anything."""
        named = self.route if self.route.startswith("*") or " " in self.route else f"* {self.route}"
        pattern = "/".join("*" if part.startswith(":") else part for part in named.split("/"))
        return fnmatchcase(f"{method} {path}", pattern)


@dataclass
class Misbehaviour:
    """The demanded misbehaviours. Counts are of coming events; True means every one until reset."""

    duplicate: int = 1
    reorder: int = 1
    delay_seconds: float = 0.0
    drop: int | bool = 0
    wrong_signature: int | bool = 0
    deliver_before_answer: bool = False
    faults: list[Fault] = field(default_factory=list)

    def demand(self, body: JsonObject) -> None:
        """Add what a control asked for; a name or type that is not known is refused, so that typos show."""
        demanded = _checked(Misbehaviour, body)
        faults = [Fault(**_checked(Fault, fault)) for fault in demanded.pop("faults", [])]
        for name, value in demanded.items():
            setattr(self, name, value)
        self.faults.extend(faults)

    def reset(self) -> None:
        """Behave again."""
        self.__dict__.update(Misbehaviour().__dict__)

    def told(self) -> JsonObject:
        """What is demanded still."""
        return asdict(self)

    def take(self, name: str) -> bool:
        """Use up one of a counted misbehaviour (`drop`, `wrong_signature`)."""
        left: int | bool = getattr(self, name)
        if left is _ALL:
            return True
        if left > 0:
            setattr(self, name, left - 1)
        return left > 0

    def take_fault(self, method: str, path: str) -> Fault | None:
        """The fault for this call, one use less; the first demanded goes first."""
        fault = next((each for each in self.faults if each.matches(method, path)), None)
        if fault is not None and fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                self.faults.remove(fault)
        return fault


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "duplicate": (int,),
    "reorder": (int,),
    "delay_seconds": (int, float),
    "drop": (int, bool),
    "wrong_signature": (int, bool),
    "deliver_before_answer": (bool,),
    "faults": (list,),
    "route": (str,),
    "count": (int, type(None)),
    "status": (int, type(None)),
    "retry_after": (int, str, type(None)),
    "body": (str,),
    "hang_seconds": (int, float, type(None)),
    "cut": (bool,),
    "when": (str,),
}


def _checked(kind: type[Misbehaviour | Fault], body: Any) -> JsonObject:
    names = {each.name for each in fields(kind)}
    if not isinstance(body, dict):
        raise invalid("Expected an object")
    for name, value in body.items():
        if name not in names or type(value) not in _TYPES[name]:
            raise invalid(f"{name} is not an option here, or not with such a value")
    return dict(body)
