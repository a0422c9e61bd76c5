import os
import subprocess
import sys

import pytest

from tierline.model.errors import ConfigError
from tierline.storage.hold import Hold


def test_who_comes_second_is_refused_until_the_first_lets_go(tmp_path):
    path = str(tmp_path / "node.lock")
    first = Hold(path)
    with pytest.raises(ConfigError, match="runs already"):
        Hold(path)
    first.close()
    first.close()
    Hold(path).close()


def test_a_killed_process_holds_nothing(tmp_path):
    path = str(tmp_path / "node.lock")
    script = f"from tierline.storage.hold import Hold; h = Hold({path!r}); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match="another process"):
            Hold(path)
        child.kill()
        child.wait()
    Hold(path).close()


def test_the_file_is_its_owner_s_only(tmp_path):
    path = tmp_path / "node.lock"
    Hold(str(path)).close()
    assert os.stat(path).st_mode & 0o077 == 0  # noqa: PTH116


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere/node\.lock cannot be made: No such file"):
        Hold(str(tmp_path / "nowhere" / "node.lock"))
