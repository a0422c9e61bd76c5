from tierline.scenario.tail import Tail


def test_what_is_new_is_read_and_an_unfinished_line_is_left(tmp_path):
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.read() == []
    path.write_bytes(b'{"a": 1}\n{"b"')
    assert tail.read() == [{"a": 1}]
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(b": 2}\n")
    assert tail.read() == [{"b": 2}]


def test_lines_that_are_no_objects_are_left_out(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b'words\n{broken\n[1]\n{"a": 1}\n')
    assert Tail(path).read() == [{"a": 1}]


def test_a_whole_file_is_read_however_long(tmp_path):
    path = tmp_path / "log"
    line = b'{"a": "' + b"x" * 100_000 + b'"}\n'
    path.write_bytes(line * 100)
    assert len(Tail(path).all()) == 100
