"""How the files of a living project are named, and which are missing there."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.errors import RefusedError
from keyfund.__main__ import build_parser
from operate import migrations
from operate.__main__ import carry_out
from operate.migrations import Project, choose_schema, first_version, read_folder, shipped, write

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
NOTHING = Project(frozenset(), frozenset(), None)


def keyfund(*words: str | Path) -> int:
    return carry_out(build_parser().parse_args(["migrations", *map(str, words)]))


@pytest.mark.parametrize(
    ("versions", "first"),
    [
        ([], "20260504030201"),
        (["20250101000000", "0001", "20240101"], "20260504030201"),
        (["20260504030201"], "20260504030202"),
        (["20261231235959"], "20270101000000"),
    ],
)
def test_files_are_numbered_after_the_newest_and_not_before_now(versions: list[str], first: str) -> None:
    assert first_version(versions, NOW).strftime("%Y%m%d%H%M%S") == first


@pytest.mark.parametrize("version", ["99999999999999", "9"])
def test_a_number_that_nothing_can_follow_is_told(version: str) -> None:
    with pytest.raises(RefusedError, match=version):
        first_version([version], NOW)


def test_every_name_is_lasting_and_taken_once() -> None:
    slugs = [one.slug for one in shipped("api")]
    assert len(set(slugs)) == len(slugs)
    assert slugs[:2] == ["preflight", "schema"]
    assert slugs[2:] == [one.slug for one in shipped("public")][1:]


@pytest.mark.parametrize("schema", ["public", "api"])
def test_each_file_waits_for_no_lock_for_long_and_has_postgrest_look_again(schema: str) -> None:
    for one in shipped(schema):
        assert one.text.count("set local lock_timeout = '5s';") == 1
        assert one.text.count("notify pgrst, 'reload schema';") == 1


def test_an_update_adds_what_is_missing_and_keeps_what_is_there(tmp_path: Path) -> None:
    first = write(tmp_path, "api", NOTHING, NOW)
    for file in first[-2:]:
        file.unlink()
    kept = {file: file.read_text() for file in first[:-2]}
    later = write(tmp_path, "api", read_folder(tmp_path), NOW)
    assert [file.name.partition("_")[2] for file in later] == [
        file.name.partition("_")[2] for file in first[-2:]
    ]
    assert min(later) > max(kept)
    assert {file: file.read_text() for file in kept} == kept


def test_what_a_database_has_is_not_written_again(tmp_path: Path) -> None:
    slugs = frozenset(one.slug for one in shipped("api"))
    there = Project(frozenset({"20990101000000"}), slugs - {"settings"}, "api")
    (file,) = write(tmp_path, "api", there, NOW)
    assert file.name == "20990101000001_keyfund_settings.sql"


def test_the_schema_of_the_files_that_are_there_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keyfund("--into", tmp_path / "new" / "folder", "--schema", "my-api") == 0
    assert "SUPABASE_SCHEMA=my-api" in capsys.readouterr().out
    assert read_folder(tmp_path / "new" / "folder").schema == "my-api"
    assert keyfund("--into", tmp_path / "new" / "folder") == 0
    assert keyfund("--into", tmp_path / "new" / "folder", "--schema", "other") == 1
    assert "are for the schema my-api" in capsys.readouterr().err


def test_another_schema_than_that_of_the_database_is_refused() -> None:
    assert choose_schema(None, "api") == "api"
    assert choose_schema(None, None) == "public"
    with pytest.raises(RefusedError):
        choose_schema("api", "public")


def test_what_cannot_be_written_or_asked_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert keyfund("--into", tmp_path / "file") == 1
    assert keyfund("--into", tmp_path, "--schema", "auth") == 1
    assert keyfund("--into", tmp_path, "--database", "postgresql://127.0.0.1:1/none?connect_timeout=2") == 2
    assert capsys.readouterr().err.count("keyfund: ") == 3
    assert migrations.read_folder(tmp_path) == NOTHING
