import os
import stat

import pytest

from tierline.env import RealFiles
from tierline.env import files as files_module
from tierline.model.errors import ConfigError


@pytest.fixture
def files():
    return RealFiles()


def test_what_was_written_is_read_back(files, tmp_path):
    path = str(tmp_path / "a")
    files.write(path, b"one")
    files.write(path, b"two")
    assert files.read(path) == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_private_file_is_private_whatever_the_umask(files, tmp_path):
    old = os.umask(0)
    try:
        files.write(str(tmp_path / "key"), b"secret", mode=0o600)
        os.umask(0o777)
        files.write(str(tmp_path / "open"), b"public")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o644


def test_the_data_is_on_the_disk_before_the_name_changes_and_the_name_after(files, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    seen = []
    real = os.fsync

    def fsync(descriptor):
        seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.read_bytes()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write(str(path), b"new")
    assert seen == [(False, b"old"), (True, b"new")]


def test_a_failed_write_leaves_the_old_content_and_no_litter(files, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def refuse(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_module.os, "fsync", refuse)
    with pytest.raises(ConfigError, match="No space left on device"):
        files.write(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_short_write_is_continued(files, tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(files_module.os, "write", lambda descriptor, data: real(descriptor, data[:2]))
    files.write(str(tmp_path / "a"), b"abcdefg")
    files.append(str(tmp_path / "a"), b"hij")
    assert (tmp_path / "a").read_bytes() == b"abcdefghij"


def test_an_append_makes_the_file_and_adds_to_it(files, tmp_path):
    path = str(tmp_path / "log")
    files.append(path, b"a\n")
    files.append(path, b"b\n")
    assert files.read(path) == b"a\nb\n"


def test_a_file_that_cannot_be_had_is_named(files, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*/nothing: No such file"):
        files.read(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match=r"cannot write .*/no/folder"):
        files.append(str(tmp_path / "no" / "folder"), b"")


def test_a_folder_is_made_with_those_above_it_and_making_it_again_does_nothing(tmp_path):
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        RealFiles().make_folder(str(folder))
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot write .*file/b"):
        RealFiles().make_folder(str(tmp_path / "file" / "b"))
