"""A folder of this machine that mirrors one in a bucket."""

from beam_prep.storage import mirror
from beam_prep.storage.mirror import BucketMirror, local_copy


def test_a_mirror_hands_back_what_changed_in_order_and_removes_what_is_gone(bucket, place, tmp_path):
    for name in ("same", "changed", "gone", "sub/deep", "not fetched"):
        bucket.write(f"folder/{name}", name.encode())
    home = BucketMirror(place, tmp_path / "here")
    home.fetch("same", "changed", "gone", "sub/*")
    (home.local / "changed").write_text("differs")
    (home.local / "gone").unlink()
    for name in ("new", "last", ".hidden"):
        (home.local / name).write_text(name)
    bucket.requests.clear()
    home.push(lambda name: int(name == "last"))
    assert set(bucket.files("folder")) == {"same", "changed", "new", "last", "sub/deep", "not fetched"}
    written = [request for request in bucket.requests if request.startswith("POST")]
    assert len(written) == 3
    assert [number for number, request in enumerate(bucket.requests) if request.startswith("DELETE")] == [3]
    bucket.requests.clear()
    home.push()
    assert bucket.requests == [], "nothing has changed"


def test_a_folder_of_this_machine_is_its_own_mirror(tmp_path):
    (tmp_path / "x").write_text("x")
    home = mirror.mirror_of(str(tmp_path))
    assert home.fetch() == home.local == tmp_path
    home.push()
    home.replace(last="x", mark="y")
    home.forget()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    with local_copy(str(tmp_path / "x")) as copy:
        assert copy == tmp_path / "x"
