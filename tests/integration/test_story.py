"""The story itself, on the shared stack."""

from dev import story
from tests.integration.world import World


def test_the_story_holds(world: World) -> None:
    lines: list[str] = []
    story.play(world.env, lines.append)
    assert any("the same call works again with both" in line for line in lines)
