"""What must stay secret, everything that was written, and the search for the one in the other.

`Evidence` is told of people and answers by the tests of this folder; other folders may ask for the fixture
`evidence` and do the same. Logs are searched whole, whoever caused their lines, and also by the *forms* of
secrets, so that a key or a token that nobody registered is found as well.
"""

import pickle
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from dev.child import Child
from dev.stack import ORDER, Stack
from tests.support import Connection, User

FORMS = {
    "a LiteLLM key": re.compile(rb"sk-kf-[0-9a-f]{16,}"),
    "a JSON Web Token": re.compile(rb"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    "a Paystack secret key": re.compile(rb"sk_(?:test|live)_[A-Za-z0-9]{16,}"),
    "a Supabase secret key": re.compile(rb"sb_secret_[A-Za-z0-9_-]{10,}"),
    "a card authorisation": re.compile(rb"AUTH_[A-Za-z0-9]{8,}"),
    "a password in a URL": re.compile(rb"postgres(?:ql)?://[^\s:/@]+:[^\s@]+@"),
}
"""How secrets look. Tests that make secrets up must not make them look like these."""

SERVERS = ("sql", "older")
"""Logs of PostgreSQL servers that belong to no stack."""

KEY = re.compile(rb"sk-kf-[0-9a-f]{64}")


@dataclass(frozen=True)
class Leak:
    """Where which secret was seen; never the secret itself."""

    where: str
    what: str


@dataclass
class Evidence:
    """Secrets with their owner (None: nobody may ever be shown it) and answers with who was answered."""

    secrets: dict[bytes, tuple[str, str | None]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)  # access token: user id
    answers: dict[tuple[bytes, str | None], str] = field(default_factory=dict)

    def keep_secret(self, what: str, secret: str, owner: str | None = None) -> None:
        if len(secret) >= 8:
            self.secrets.setdefault(secret.encode(), (what, owner))

    def meet(self, user: User) -> User:
        """Someone signed up: their token and password are theirs alone."""
        self.owners[user.token] = user.id
        self.keep_secret("an access token", user.token, user.id)
        self.keep_secret("a password", user.password, user.id)
        return user

    def write(self, file: Path) -> None:
        """For another process of the run, whole or not at all."""
        part = file.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_bytes(pickle.dumps((self.secrets, self.owners, self.answers)))
        part.rename(file)

    def add(self, file: Path) -> None:
        secrets, owners, answers = pickle.loads(file.read_bytes())  # noqa: S301 (written by this run)
        self.secrets = secrets | self.secrets
        self.owners |= owners
        self.answers = answers | self.answers

    # ------------------------------------------------------------------ answers

    def note(self, answer: httpx.Response) -> None:
        """Keep an answer whose body has been read, but for those that Paystack and our own service may see."""
        if answer.request.url.path.startswith("/sandbox/"):
            return  # a test speaking as Paystack, which knows the cards
        if answer.request.headers.get("apikey", "").startswith("sb_secret_"):
            return  # a test speaking as the service, which is given keys to push them
        token = answer.request.headers.get("authorization", "").partition(" ")[2].strip()
        where = f"{answer.request.method} {answer.request.url.path} -> {answer.status_code}"
        blob = repr(answer.headers.raw).encode() + b"\n" + answer.content
        self.answers.setdefault((blob, self.owners.get(token)), where)

    def note_raw(self, where: str, answer: bytes) -> None:
        """Keep what somebody was answered who did not sign in."""
        self.answers.setdefault((answer, None), where)

    def client(self, **options: float) -> httpx.Client:
        """A client all of whose answers are kept."""

        def keep(answer: httpx.Response) -> None:
            answer.read()
            self.note(answer)

        return httpx.Client(timeout=options.get("timeout", 30), event_hooks={"response": [keep]})

    # ----------------------------------------------------------------- searching

    def search(self, where: str, blob: bytes, reader: str | None = None) -> Iterator[Leak]:
        """Registered secrets in a blob, but for those that belong to its reader."""
        for secret, (what, owner) in self.secrets.items():
            if (owner is None or owner != reader) and secret in blob:
                yield Leak(where, what)

    def search_forms(self, where: str, blob: bytes) -> Iterator[Leak]:
        """Whatever looks like a secret, registered or not."""
        for what, form in FORMS.items():
            if form.search(blob):
                yield Leak(where, f"looks like {what}")

    def search_answers(self) -> set[Leak]:
        """Answers that hold somebody else's secret, the registered ones and keys that we never heard of."""
        everything = b"\n".join(blob for blob, _ in self.answers)
        shown = {secret: told for secret, told in self.secrets.items() if secret in everything}
        mine = {secret: owner for secret, (what, owner) in shown.items() if what == "a LiteLLM key"}
        leaks: set[Leak] = set()
        for (blob, reader), where in self.answers.items():
            leaks |= set(Evidence(secrets=shown).search(where, blob, reader))
            for found in KEY.findall(blob):
                if reader is None or mine.get(found, reader) != reader:
                    leaks.add(Leak(where, "a LiteLLM key that is not the reader's"))
        return leaks


def collect(evidence: Evidence, stack: Stack, db: Connection) -> None:
    """Register all secrets that the stack holds now: its own, and everybody's keys."""
    own = {
        "the master key": stack.master_key,
        "Paystack's secret key": stack.paystack_key,
        "the service key": stack.keys.secret,
        "the JWT secret": stack.keys.jwt_secret,
        "the signing key": stack.keys.signing_key,
    } | {f"{role}'s database password": word for role, word in stack.address.passwords.items()}
    for what, secret in own.items():
        evidence.keep_secret(what, secret)
    rows = db.execute("select litellm_key_id, user_id::text from public.virtual_keys").fetchall()
    for key, owner in rows:
        evidence.keep_secret("a LiteLLM key", key or "", owner)


def collect_authorisations(evidence: Evidence, paystack_url: str) -> None:
    """Register what Paystack could charge buyers' cards with."""
    paid = httpx.get(f"{paystack_url}/sandbox/transactions", timeout=30).json()["transactions"]
    for one in paid:
        authorisation = one.get("authorization") or {}
        evidence.keep_secret("a card authorisation", str(authorisation.get("authorization_code") or ""))


def logs_of(folder: Path) -> dict[str, list[Path]]:
    """By part, the logs of all stacks, databases and single processes below a folder.

    A part's name is in its file's: `test_1.supabase.log`, `faults-worker-3.log`. What has none goes by its own.
    """
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*.log")):
        part = next((name for name in ORDER if name in file.stem), file.stem)
        found.setdefault("postgres" if part in SERVERS else part, []).append(file)
    return found


def readable_by_all(folder: Path) -> Iterator[Path]:
    """Files that any user of the machine may read, given that the folder can be entered."""
    for entry in sorted(folder.iterdir()):
        mode = entry.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & 0o055:
            yield from readable_by_all(entry)
        elif stat.S_ISREG(mode) and mode & 0o044:
            yield entry


def command_lines(children: Iterable[Child]) -> set[str]:
    """What anybody on the machine can read of running parts and all that they started."""
    lines = set()
    for child in children:
        for process in child.family():
            try:
                lines.add(" ".join([process.name(), *process.cmdline()]))
            except psutil.Error:
                continue
    return lines
