"""Files that one machine writes and another reads, by a URL: whole or absent, and what was published or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from evoembedding.schemas.errors import EvoError
from evoembedding.warehouse.backend import DATA_URL, LAKE_URL
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.listing import LISTING
from evoembedding.warehouse.root import Root


@pytest.fixture
def url(served: Callable[[], dict[str, str]]) -> str:
    """A place in a new bucket."""
    return served()[DATA_URL]


def objects(url: str) -> dict[str, str]:
    """Keys of the bucket by the names that they have under the URL."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    files = [one["Key"] for one in listed if not one["Key"].endswith("/")]  # Arrow marks folders too
    return {key.removeprefix(f"{prefix}/"): key for key in files}


def filled(home: Path) -> Path:
    folder = home / "runs" / "run-1" / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "a b.txt").write_text("one")
    (folder / "deep" / "empty").touch()
    (folder / "large").write_bytes(bytes(range(256)) * 10_000)
    return folder


def test_a_folder_that_one_publishes_another_brings(url: str, tmp_path: Path) -> None:
    one, two = Root(tmp_path / "one", url), Root(tmp_path / "two", f"{url}/")
    folder = filled(one.home)
    place = one.publish(folder)
    assert place == "runs/run-1/model"
    assert two.places("runs") == two.places("runs/run-1") == [place] and two.places("shards") == []
    brought = two.bring(place)
    assert brought == two.home / place
    assert {p.relative_to(brought): p.read_bytes() for p in brought.rglob("*") if p.is_file()} == {
        p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
    assert two.damage(place, deep=True) == ""
    two.publish(folder.parent.parent.parent.parent / "two" / place / "a b.txt")
    assert Root(tmp_path / "three", url).bring(f"{place}/a b.txt").read_text() == "one"
    assert two.remove(place) and not brought.exists() and not two.remove(place)
    assert two.damage(place, deep=False) == "is not published"
    assert folder.exists()  # another machine's copy


def test_what_is_published_anew_takes_the_place_of_what_was_there(url: str, tmp_path: Path) -> None:
    one, two = Root(tmp_path / "one", url), Root(tmp_path / "two", url)
    folder = filled(one.home)
    place = one.publish(folder)
    before, listing = objects(url), one.listing(place)
    assert listing is not None
    (folder / "a b.txt").write_text("other")
    (folder / "deep" / "empty").unlink()
    one.publish(folder)
    assert len(objects(url)) == len(before) - 1
    two._copy(place, two.home / place, listing)  # a reader who met the listing of before
    assert (two.home / place / "a b.txt").read_text() == "other" and not (two.home / place / "deep").exists()


def test_without_a_url_a_place_is_where_it_is(tmp_path: Path) -> None:
    root = Root(tmp_path)
    folder = filled(tmp_path)
    assert root.publish(folder) == "runs/run-1/model"
    assert root.bring("runs/run-1/model") == folder and not root.bring("runs/none").exists()
    assert sorted(p.name for p in folder.iterdir()) == ["a b.txt", "deep", "large"]
    with pytest.raises(EvoError, match="leads out of"):
        root.bring("../elsewhere")


@pytest.mark.parametrize("what", ["cut", "gone", "other", "listing"])
def test_what_was_changed_at_the_url_is_not_used(url: str, tmp_path: Path, what: str) -> None:
    one, two = Root(tmp_path / "one", url), Root(tmp_path / "two", url)
    place = one.publish(filled(one.home))
    bucket, s3 = url.split("/")[2], boto3.client("s3")
    (key,) = [key for name, key in objects(url).items() if (LISTING if what == "listing" else "large-") in name]
    if what == "gone":
        s3.delete_object(Bucket=bucket, Key=key)
    else:
        kept = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.put_object(Bucket=bucket, Key=key, Body=kept[:-9] + (b"" if what == "cut" else b"x" * 9))
    with pytest.raises(EvoError, match="it was not used"):
        two.bring(place)
    assert not (two.home / place).exists()
    assert list((two.home / place).parent.glob("*")) == []
    if what != "listing":
        assert two.damage(place, deep=True)
        assert bool(two.damage(place, deep=False)) == (what != "other")


def test_half_of_what_is_written_is_nothing(url: str, tmp_path: Path) -> None:
    one = Root(tmp_path / "one", url)
    place = one.publish(filled(one.home))
    boto3.client("s3").delete_object(Bucket=url.split("/")[2], Key=objects(url)[f"{place}/{LISTING}"])
    assert not Root(tmp_path / "two", url).bring(place).exists()
    assert one.places("runs") == []


def test_a_bucket_that_is_not_there_or_gives_no_rights_is_one_sentence(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path)
    with pytest.raises(EvoError, match="see that the bucket is there") as raised:
        Root(tmp_path, "s3://no-such-bucket-here/x").publish(folder)
    assert "\n" not in str(raised.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(EvoError, match="cannot be read or written"):
        Root(tmp_path, url).bring("runs/other")


def test_files_lie_beside_the_lake_and_never_in_it(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_URL, f"{url}/files")
    monkeypatch.setenv(LAKE_URL, url)
    with pytest.raises(EvoError, match="neither holds the other"):
        Warehouse.open(tmp_path)
    monkeypatch.setenv(DATA_URL, url)
    monkeypatch.delenv(LAKE_URL)
    with Warehouse.open(tmp_path) as warehouse:
        assert warehouse.backend.data_path == f"{url}/warehouse/"


def test_a_catalog_of_before_says_where_its_data_are(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAKE_URL, url)  # as all data lay until now
    Warehouse.open(tmp_path).close()
    monkeypatch.delenv(LAKE_URL)
    monkeypatch.setenv(DATA_URL, url)
    with pytest.raises(EvoError, match=f"set EVO_WAREHOUSE_URL={url}, and EVO_DATA_URL to"):
        Warehouse.open(tmp_path)
