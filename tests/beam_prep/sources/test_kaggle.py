"""Data sets are downloaded by Kaggle's own client, here from a server of this machine."""

import io
import stat
import zipfile
from pathlib import Path

import pytest
from kaggle_server import kaggle_server

from beam_prep.console.errors import RunError, UsageError
from beam_prep.sources.kaggle import download
from beam_prep.sources.unzip import unpack

client = pytest.importorskip("kaggle.api.kaggle_api_extended", reason="the client needs Python 3.11")

FILES = {
    "chest_xray/train/NORMAL/one.jpeg": b"x" * 3_000_000,
    "chest_xray/test/PNEUMONIA/two.jpeg": bytes(range(256)) * 800,
}
DATASET = "chest-xray-pneumonia"
GO_ON = f"bytes={2**20}-"  # the client writes a MiB at a time


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server of this machine, credentials in place, and a client that does not wait between its attempts."""
    from kagglesdk import kaggle_env

    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    with kaggle_server(zipped({**FILES, "__MACOSX/chest_xray/._one.jpeg": b"no image"})) as server:
        address = f"http://localhost:{server.server_port}"
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, address)
        yield server


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "raw"


def assert_whole(output: Path) -> None:
    found = {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert found == FILES
    assert [path.name for path in output.parent.iterdir()] == [output.name], "nothing else is left"


def test_it_gets_the_files_and_nothing_else(server, output, capsys):
    assert download(DATASET, str(output)) == len(FILES)
    assert_whole(output)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "secret" not in printed.err


def test_a_broken_connection_is_resumed(server, output):
    server.break_after = [1_500_000]
    download(DATASET, str(output))
    assert_whole(output)
    assert server.ranges == [None, GO_ON]


def test_the_next_command_resumes_the_download_of_a_killed_one(server, output, monkeypatch):
    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    server.break_after = [1_500_000]
    with monkeypatch.context() as patch:
        patch.setattr(client.time, "sleep", killed)
        with pytest.raises(KeyboardInterrupt):
            download(DATASET, str(output))
    assert not output.exists()
    download(DATASET, str(output))
    assert_whole(output)
    assert server.ranges[-1] == GO_ON


@pytest.mark.parametrize(("status", "said"), [(401, "credentials"), (403, "terms"), (404, "no such data set")])
def test_what_kaggle_refuses_is_one_line(server, output, status, said):
    server.status = status
    with pytest.raises(RunError, match=said):
        download(DATASET, str(output))
    assert not output.exists()


def test_no_credentials_is_one_line_that_says_where_they_go(output, monkeypatch, tmp_path):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client.KaggleApi, "config", str(tmp_path / "none.json"))
    monkeypatch.setattr(client.KaggleApi, "_authenticate_with_oauth_creds", lambda self: False)
    with pytest.raises(UsageError, match=r"kaggle\.json"):
        download(DATASET, str(output))


def test_an_unknown_name_and_a_full_folder_are_refused(output, tmp_path):
    with pytest.raises(UsageError, match="chest-xray-pneumonia, or OWNER/NAME"):
        download("nonsense", str(output))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "mine.txt").touch()
    with pytest.raises(UsageError, match="empty or absent"):
        download(DATASET, str(output))


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["../out.jpeg", "/etc/out.jpeg", "a/../../out.jpeg", "..\\out.jpeg", "C:out.jpeg"])
def test_a_path_that_leads_out_is_refused_before_anything_is_written(tmp_path, name):
    archive = write(tmp_path / "a.zip", zipped({"fine.jpeg": b"fine", name: b"bad"}))
    with pytest.raises(RunError, match="leads out"):
        unpack(archive, tmp_path / "folder")
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip"}


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(RunError, match="link"):
        unpack(tmp_path / "a.zip", tmp_path / "folder")


def test_a_flipped_bit_and_a_cut_archive_are_found(tmp_path):
    whole = zipped(FILES)
    flipped = bytearray(whole)
    flipped[1000] ^= 1
    for number, content in enumerate((bytes(flipped), whole[:-100], b"no archive")):
        archive = write(tmp_path / f"{number}.zip", content)
        with pytest.raises(RunError, match="not a sound zip archive"):
            unpack(archive, tmp_path / str(number))


def test_more_than_the_disk_holds_is_refused(tmp_path, monkeypatch):
    archive = write(tmp_path / "a.zip", zipped(FILES))
    monkeypatch.setattr("beam_prep.sources.unzip.MAX_BYTES", 1000)
    with pytest.raises(RunError, match="more than can be right"):
        unpack(archive, tmp_path / "folder")
