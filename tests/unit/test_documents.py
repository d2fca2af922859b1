"""Documents are promises: what they name exists, and what they must name they name."""

import argparse
import importlib.util
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

import dev.__main__ as dev
import keyfund.__main__ as keyfund
import operate.__main__ as operate
from core.settings import Settings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / ".env.example"
README = ROOT / "README.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
QUICKSTART = ROOT / "docs" / "quickstart.md"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MOST_LINES = 150
FIELDS = {name.upper(): field for name, field in Settings.model_fields.items()}

ASSIGNMENT = re.compile(r"^(?P<optional># )?(?P<name>[A-Z][A-Z0-9_]+)=(?P<value>.*)$", re.MULTILINE)
SETTING = re.compile(r"^\| `(?P<name>[A-Z][A-Z0-9_]+)` \| (?P<default>[^|]+) \|", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)(?P<file>[^)#]*)(?:#(?P<anchor>[^)]*))?\)")
PICTURE = re.compile(r' src(?:set)?="(?!https?:)([^"]+)"')
CODE = re.compile(r"`([^`\n]+)`")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
AT_THE_START = r"(?:^|\$ |&& |: )(?:[A-Z]+=\S+ )*"
MAKE = re.compile(AT_THE_START + r"make ([a-z-]+)", re.MULTILINE)
KEYFUND = re.compile(r"(?:^|\$ |&& |-m )keyfund ([a-z]+)", re.MULTILINE)
MODULE = re.compile(r"(?:^|\s|/)python3? -m ([a-z_.]+)(?: ([a-z]+))?", re.MULTILINE)
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
STEP = re.compile(r"^ *\d+\. (.+?)  +\d", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
EVENT = re.compile(r"`([a-z]+\.[a-z_]+)`")
MADE_LATER = (".env", ".venv", ".stack", ".stack/env", ".stack/logs")
"""What the documents tell you to make, or that running makes."""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FIELDS:
        monkeypatch.delenv(name, raising=False)


def place(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def example() -> dict[str, re.Match[str]]:
    return {found["name"]: found for found in ASSIGNMENT.finditer(EXAMPLE.read_text())}


def table() -> dict[str, str]:
    """Settings and their defaults as the table of the configuration tells them."""
    section = CONFIGURATION.read_text().partition("\n## The environment\n")[2].partition("\n## ")[0]
    return {found["name"]: found["default"].strip() for found in SETTING.finditer(section)}


def default_of(name: str) -> object:
    """A setting's default; None where it has none, or an empty one."""
    field = FIELDS[name]
    return None if field.is_required() else field.get_default(call_default_factory=True) or None


def shown(name: str) -> str:
    """A default as that table writes it."""
    if FIELDS[name].is_required():
        return "required"
    value = FIELDS[name].get_default(call_default_factory=True)
    if value is None or value == []:
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_the_example_names_every_setting_and_no_other() -> None:
    assert set(example()) == set(FIELDS)
    assert len(ASSIGNMENT.findall(EXAMPLE.read_text())) == len(FIELDS), "each once"


def test_the_example_asks_for_the_required_settings_alone() -> None:
    asked = {name for name, line in example().items() if not line["optional"]}
    assert asked == {name for name, field in FIELDS.items() if field.is_required()}


def test_every_setting_of_the_example_is_explained() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for name, line in example().items():
        before = lines[lines.index(line.group()) - 1]
        assert re.match(r"# [^-]", before), f"{name} has no line above it that explains it"
        assert not ASSIGNMENT.match(before), f"{name} has no line above it that explains it"


def test_the_example_as_it_stands_is_accepted_and_means_the_defaults(bare: None) -> None:
    settings = Settings(_env_file=EXAMPLE)
    optional = [name for name, field in Settings.model_fields.items() if not field.is_required()]
    assert {name: getattr(settings, name) for name in optional} == {
        name: Settings.model_fields[name].get_default(call_default_factory=True) for name in optional
    }


def test_the_example_with_every_line_in_use_is_accepted_and_shows_the_defaults(
    bare: None, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.write_text(ASSIGNMENT.sub(r"\g<name>=\g<value>", EXAMPLE.read_text()))
    assert set(dotenv_values(full)) == set(FIELDS)
    settings = Settings(_env_file=full)
    for name in FIELDS:
        if (default := default_of(name)) is not None:
            assert getattr(settings, name.lower()) == default, name


def test_the_configuration_names_every_setting_with_its_default_and_no_other() -> None:
    assert table() == {name: shown(name) for name in FIELDS}


def test_the_readme_is_one_that_people_read_to_its_end() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("document", DOCUMENTS, ids=place)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text()
    links = [found["file"] for found in LINK.finditer(text) if found["file"]] + PICTURE.findall(text)
    linked = [document.parent / link for link in links]
    named = [ROOT / name for name in CODE.findall(FENCED.sub("", text)) if is_path(name)]
    assert linked or named
    missing = [str(path.relative_to(ROOT)) for path in [*linked, *named] if not path.exists()]
    assert missing == []


def is_path(name: str) -> bool:
    """Whether code in a sentence is meant as a place in this checkout, not as a route or a schema's table."""
    if name in MADE_LATER or not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?", name):
        return False
    places = {path.name for path in ROOT.iterdir()}
    return "/" in name or name in places or bool(re.search(r"\.(md|py|sql|svg|toml|txt|yaml|example)$", name))


@pytest.mark.parametrize("document", DOCUMENTS, ids=place)
def test_every_heading_that_a_document_points_at_exists(document: Path) -> None:
    for found in LINK.finditer(document.read_text()):
        if found["anchor"]:
            target = document.parent / found["file"] if found["file"] else document
            headings = HEADING.findall(FENCED.sub("", target.read_text()))
            assert found["anchor"] in {anchor(heading) for heading in headings}, found.group()


def anchor(heading: str) -> str:
    """The name that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=place)
def test_every_command_in_a_document_is_one(document: Path) -> None:
    text = code_of(document)
    unknown = {f"make {name}" for name in set(MAKE.findall(text)) - targets()}
    unknown |= {
        f"keyfund {name}" for name in set(KEYFUND.findall(text)) - commands_of(keyfund.build_parser())
    }
    unknown |= {
        f"python -m {module} {word}" for module, word in MODULE.findall(text) if not runs(module, word)
    }
    assert unknown == set()


def test_the_documents_name_every_command_that_operators_have() -> None:
    named = {name for document in DOCUMENTS for name in KEYFUND.findall(code_of(document))}
    assert commands_of(keyfund.build_parser()) <= named


@pytest.mark.parametrize(
    "written", ["make nothing", "keyfund nothing", "python -m dev nothing", "python -m nothing"]
)
def test_a_command_that_is_none_is_noticed(written: str, tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"Run `{written}`.\n")
    with pytest.raises(AssertionError):
        test_every_command_in_a_document_is_one(document)


def code_of(document: Path) -> str:
    """All code of a document: blocks, and pieces within sentences, each on a line of its own."""
    text = document.read_text()
    return "\n".join([*FENCED.findall(text), *CODE.findall(FENCED.sub("", text))])


def targets() -> set[str]:
    return set(TARGET.findall((ROOT / "Makefile").read_text()))


def commands_of(parser: argparse.ArgumentParser) -> set[str]:
    (commands,) = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return set(commands.choices)


def runs(module: str, word: str) -> bool:
    """Whether ``python -m module word`` is there; other people's modules are only looked for."""
    ours = {"keyfund": keyfund.build_parser, "operate": operate.build_parser, "dev": dev.parser}
    if importlib.util.find_spec(module) is None:
        return False
    return not word or module not in ours or word in commands_of(ours[module]())


def test_the_story_in_the_documents_is_the_one_that_is_played() -> None:
    told = STEP.findall(QUICKSTART.read_text())
    played = re.findall(r'self\.step\("([^"]+)"', (ROOT / "dev" / "story.py").read_text())
    assert told
    assert told == played


def test_the_margin_in_the_readme_is_what_the_package_of_the_seed_leaves() -> None:
    seed = (ROOT / "supabase" / "seed.sql").read_text()
    credits, price = map(int, re.search(r"\('starter-ngn', '\w+', (\d+), (\d+)", seed).groups())  # type: ignore[union-attr]
    terms = {name: int(value) for name, value in re.findall(r"p_fee_(\w+) => (\d+)", seed)}
    rate = int(re.search(r"1 dollar = NGN ([\d,]+)", seed)[1].replace(",", ""))  # type: ignore[index]
    fee = price * terms["basis_points"] // 10_000 + terms["fixed"]
    cost = credits * 2 * rate  # two cents a credit; a hundred subunits in a naira
    told = [
        int(cell.replace(",", ""))
        for cell in re.findall(r"^\|.*\| (?:− |\*\*)?([\d,]+)(?:\*\*)? \|$", README.read_text(), re.MULTILINE)
    ]
    assert told == [amount // 100 for amount in (price, fee, cost, price - fee - cost)]


def test_every_log_event_that_the_operator_reads_about_is_in_the_code() -> None:
    section = TROUBLESHOOTING.read_text().partition("\n## Log events\n")[2]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    code = "".join(file.read_text() for room in ("core", "webhook", "worker") for file in room_files(room))
    told = [event for cell in first_cells for event in EVENT.findall(cell)]
    assert told
    assert [event for event in told if f'"{event}"' not in code] == []


def room_files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))
