"""Who may do what in a schema of another name: the same as in public, table by table."""

import os
import subprocess
import sys

from dev.stack import ROOT
from tests.living.project import BESIDE

FILES = ("test_access.py", "test_catalog.py", "test_administrators.py")


def test_the_lists_of_rights_hold_in_a_schema_of_another_name() -> None:
    files = [f"tests/sql/{name}" for name in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *files]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=env | {"TEST_SCHEMA": BESIDE},
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
