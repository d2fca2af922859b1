"""Work beside the answers is bounded, however many come at once."""

from contextlib import ExitStack

from webhook.services import MOST_TASKS, Background


async def nothing() -> None:
    """Work that is done at once."""


async def test_a_place_is_kept_from_before_it_is_known_whether_there_is_work() -> None:
    background = Background()
    with ExitStack() as crowd:
        assert all(crowd.enter_context(background.place()) for _ in range(MOST_TASKS))
        with background.place() as is_free:
            assert not is_free
    with background.place() as is_free:
        assert is_free


async def test_work_that_was_started_takes_its_place_until_it_ends() -> None:
    background = Background()
    for _ in range(MOST_TASKS):
        background.start(nothing())
    with background.place() as is_free:
        assert not is_free
    await background.finish(5)
    with background.place() as is_free:
        assert is_free
