"""What a comparison of all keys builds on: their order, their marks, and what each may do."""

from tests.conformance.subject import Subject


async def test_keys_are_listed_by_their_hashes_with_their_mark_and_their_user(subject: Subject) -> None:
    await subject.wallet(5)
    keys = [await subject.key() for _ in range(3)]
    found = {one.key_hash: one async for page in subject.gateway.list_keys() for one in page.keys}
    ours = [one for one in found if one in {key.key_hash for key in keys}]
    assert ours == sorted(key.key_hash for key in keys)
    for key in keys:
        listed = found[key.key_hash]
        assert listed.installation_id == key.installation_id
        assert listed.user == await subject.user()
        assert listed.shown == await subject.gateway.read_key(key.key_hash)
        single = await subject.gateway.find_key(key.key_hash)
        assert single is not None
        assert (single.installation_id, single.kind) == (key.installation_id, "default")
        assert single.shown == listed.shown
