"""``python -m operate adopt``: keys from before Keyfund become keys of accounts, once told to."""

import csv
import hashlib
import re
import sys
from pathlib import Path

from core.assembly import assemble
from core.domain.adoption import Adoption, Refusal, Request
from core.errors import KeyfundError
from core.flows.adopt import Adopter
from core.settings import Settings

HASH = re.compile(r"[0-9a-f]{64}")
STRING = re.compile(r"sk-[A-Za-z0-9_-]{13,97}")
COLUMNS = ("key", "account", "name")
DONE, REFUSED, INCOMPLETE = 0, 1, 2


class FileError(Exception):
    """The file cannot be read as what it should be."""


async def adopt(settings: Settings, file: Path, *, really: bool) -> int:
    """Say what becomes of each key of the file, and with ``really`` do it. Returns the exit status."""
    try:
        requests = read_requests(file)
    except FileError as error:
        print(f"keyfund: {error}", file=sys.stderr)
        return INCOMPLETE
    async with assemble(settings) as parts:
        if parts.adopter is None:
            print("keyfund: LiteLLM is not configured.", file=sys.stderr)
            return INCOMPLETE
        try:
            return await _carry_out(parts.adopter, requests, really=really)
        except KeyfundError as error:
            print(f"keyfund: not finished: {error.message} It is safe to repeat.", file=sys.stderr)
            return INCOMPLETE


async def _carry_out(adopter: Adopter, requests: list[Request | Refusal], *, really: bool) -> int:
    adopted = refused = 0
    for one in requests:
        outcome = one if isinstance(one, Refusal) else await adopter.consider(one)
        if isinstance(outcome, Adoption) and really:
            outcome = await adopter.adopt(outcome) or outcome
        print(describe(outcome, really=really), flush=True)
        adopted += isinstance(outcome, Adoption)
        refused += isinstance(outcome, Refusal) and not outcome.done
    if really:
        print(f"{adopted} adopted, {refused} refused. The worker sets the owner and limits in LiteLLM.")
    else:
        print(f"{adopted} to adopt, {refused} refused. Nothing was changed; --yes does it.")
    return REFUSED if refused else DONE


def describe(outcome: Adoption | Refusal, *, really: bool) -> str:
    """A line for a person; a key's string is never in it."""
    start = f"line {outcome.request.line}: {outcome.request.shown}"
    if isinstance(outcome, Refusal):
        return f"{start}: {'nothing to do' if outcome.done else 'REFUSED'}: {outcome.reason}"
    word = "adopted for" if really else "would go to"
    return f"{start} {word} {outcome.request.account} ({outcome.user_id}): {'; '.join(outcome.effects)}"


def read_requests(file: Path) -> list[Request | Refusal]:
    """The file's lines; one that makes no sense is a refusal of its own.

    Raises:
        FileError: there is no such file, or it has other columns.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise FileError(f"{file} cannot be read as CSV.") from None
    if any(set(COLUMNS) - row.keys() for row in rows) or not rows:
        raise FileError(
            f"{file} needs a first line with the columns {', '.join(COLUMNS)}, and lines below it."
        )
    seen: set[str] = set()
    requests: list[Request | Refusal] = []
    for number, row in enumerate(rows, start=2):
        request = make_request(number, *((row[column] or "").strip() for column in COLUMNS))
        reason = _refuse(request, seen)
        seen.add(request.key_hash)
        requests.append(request if reason is None else Refusal(request, reason))
    return requests


def make_request(line: int, key: str, account: str, name: str) -> Request:
    """What is asked for a key, given as itself or as its hash."""
    if HASH.fullmatch(key):
        return Request(line, None, key, account, name or "Key")
    # A string that our own keys never have is kept as its hash alone.
    kept = key if STRING.fullmatch(key) else None
    return Request(
        line, kept, hashlib.sha256(key.encode()).hexdigest() if key else "", account, name or "Key"
    )


def _refuse(request: Request, seen: set[str]) -> str | None:
    if not request.key_hash:
        return "the line names no key"
    if not request.account:
        return "the line names no account"
    if len(request.name) > 100:
        return "its name has more than 100 characters"
    return "the key is in the file twice" if request.key_hash in seen else None
