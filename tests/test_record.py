"""Records: written whole or not at all, read with suspicion, and always with their origin."""
import json
import math
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cnn_repro
from cnn_repro.repro import record as records
from cnn_repro.repro.record import RecordError, read_record, read_records, write_atomically, write_record

RECORD = {"schema": 1, "kind": "training", "id": "a-1", "status": "finished"}


# ---------------------------------------------------------------------------------------------- atomic writing

def test_a_file_is_created_with_its_folder_and_replaced(tmp_path):
    path = tmp_path / "a folder" / "below" / "file.bin"
    assert write_atomically(path, b"first") == path and path.read_bytes() == b"first"
    write_atomically(str(path), b"second")
    assert path.read_bytes() == b"second"
    assert [item.name for item in path.parent.iterdir()] == ["file.bin"]


def test_everybody_may_read_and_only_the_owner_write(tmp_path):
    path = write_atomically(tmp_path / "file", b"")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o600)
    assert stat.S_IMODE(write_atomically(path, b"x").stat().st_mode) == 0o644


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_before_the_rename_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch, call, error):
    path = write_record(tmp_path / "record.json", RECORD)
    old = path.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(records.os, call, fail)
    with pytest.raises(type(error)):
        write_record(path, RECORD | {"status": "running"})
    assert path.read_bytes() == old
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]


def test_a_record_that_is_no_json_leaves_the_old_one(tmp_path):
    path = write_record(tmp_path / "record.json", RECORD)
    with pytest.raises(TypeError):
        write_record(path, RECORD | {"odd": object()})
    assert read_record(path) == RECORD and len(list(tmp_path.iterdir())) == 1


def test_killed_at_any_moment_the_file_is_one_whole_version(tmp_path):
    """A process that rewrites a large file without a pause is killed twelve times; what lies there is always whole."""
    path, size = tmp_path / "record.json", 16 * 2**20
    code = f"""
import itertools, sys
from cnn_repro.repro.record import write_atomically
for n in itertools.count():
    text = str(n % 10) * {size}
    record = f'{{{{"schema": 1, "kind": "k", "id": "i", "status": "s", "text": "{{text}}"}}}}'
    write_atomically(sys.argv[1], record.encode())
"""
    for attempt in range(12):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)])
        deadline = time.monotonic() + 60
        before = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(0.005 * attempt)
        child.send_signal(signal.SIGKILL)
        child.wait()
        found = read_record(path)["text"]
        assert len(found) == size and len(set(found)) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_numbers_that_json_does_not_have_become_texts(tmp_path):
    odd = RECORD | {"history": [{"loss": math.nan}, {"loss": math.inf}, {"loss": (-math.inf, 1.5)}], "n": {1: math.nan}}
    path = write_record(tmp_path / "record.json", odd)
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    found = read_record(path)
    assert found["history"] == [{"loss": "nan"}, {"loss": "inf"}, {"loss": ["-inf", 1.5]}]
    assert found["n"] == {"1": "nan"}


def test_one_key_a_line_in_utf_8_as_it_is(tmp_path):
    path = write_record(tmp_path / "record.json", RECORD | {"classes": ["Flugzeug", "авто", "\u2028", "</script>"]})
    assert len(path.read_text(encoding="utf-8").split("\n")) == len(RECORD) + 1 + 3       # { keys } and the end
    assert "авто" in path.read_text(encoding="utf-8")
    assert read_record(path)["classes"] == ["Flugzeug", "авто", "\u2028", "</script>"]


def test_an_argument_that_is_no_utf_8_does_not_lose_the_record(tmp_path):
    path = write_record(tmp_path / "record.json", RECORD | {"command": "repro --runs \udcff"})
    assert read_record(path)["command"] == "repro --runs ?"


# --------------------------------------------------------------------------------------------------- reading

BROKEN = {
    "empty": (b"", "not readable as a record"),
    "truncated": (json.dumps(RECORD).encode()[:-9], "not readable as a record"),
    "text": (b"hello", "not readable as a record"),
    "bytes": (b'{"schema": 1, "id": "\xff\xfe"}', "not readable as a record"),
    "deep": (b"[" * 200_000, "not readable as a record"),
    "endless_number": (b'{"schema": ' + b"9" * 5000 + b"}", "not readable as a record"),
    "list": (json.dumps([RECORD]).encode(), "a record is a JSON object, this is list"),
    "null": (b"null", "this is NoneType"),
    "no_schema": (b"{}", "schema None, this version reads 1"),
    "schema_2": (json.dumps(RECORD | {"schema": 2}).encode(), "schema 2, this version reads 1"),
    "schema_text": (json.dumps(RECORD | {"schema": "1"}).encode(), "schema '1', this version reads 1"),
    "no_kind": (json.dumps({k: v for k, v in RECORD.items() if k != "kind"}).encode(), "'kind' is missing"),
    "id_number": (json.dumps(RECORD | {"id": 5}).encode(), "'id' is missing or not a text"),
    "status_null": (json.dumps(RECORD | {"status": None}).encode(), "'status' is missing or not a text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_record_is_told_with_file_and_reason(name, tmp_path):
    path = tmp_path / f"{name}.json"
    path.write_bytes(BROKEN[name][0])
    with pytest.raises(RecordError, match=BROKEN[name][1]) as error:
        read_record(path)
    assert str(error.value).startswith(str(path)) and len(str(error.value)) < 1000


def test_missing_huge_and_special_files_are_told(tmp_path):
    with pytest.raises(RecordError, match="No such file"):
        read_record(tmp_path / "none.json")
    huge = tmp_path / "huge.json"
    with open(huge, "wb") as file:
        file.truncate(records.LARGEST + 1)                  # a hole: takes no space and is not read
    with pytest.raises(RecordError, match=r"^[^(]*huge.json: larger than 64 MiB, so not a record$"):
        read_record(huge)
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(RecordError, match="pipe.json: not a file"):
        read_record(tmp_path / "pipe.json")
    with pytest.raises(RecordError, match="not a file"):
        read_record(tmp_path)


def test_a_folder_is_read_whole_whatever_lies_in_it(tmp_path):
    for name, (data, _) in BROKEN.items():
        (tmp_path / f"{name}.json").write_bytes(data)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    write_record(tmp_path / "runs" / "a-1" / "record.json", RECORD)
    write_record(tmp_path / "kept.json", RECORD | {"id": "b-2", "kind": "a kind of tomorrow", "new key": [1]})
    for name in ("config.json", "history.json", ".hidden.json", ".trash/record.json"):
        write_atomically(tmp_path / "runs" / "a-1" / name, b"[]")
    (tmp_path / "notes.txt").write_text("no record and not meant as one")
    found, broken = read_records(tmp_path)
    assert [record["id"] for record in found] == ["b-2", "a-1"]         # in the order of the files' names
    assert sorted(Path(file).stem for file, _ in broken) == sorted([*BROKEN, "pipe", "folder", "gone"])
    assert all(reason and "\n" not in reason for _, reason in broken)
    assert read_records(tmp_path) == (found, broken)


def test_no_folder_is_no_records(tmp_path):
    assert read_records(tmp_path / "nothing") == ([], [])


# ------------------------------------------------------------------------------------------------- provenance

def test_provenance_says_where_a_number_comes_from(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/repro/__main__.py", "train", "lenet5", "--runs", "a b"])
    found = records.provenance()
    assert set(found) == {"command", "commit", "dirty", "version", "versions", "hardware"}
    assert found["command"] == "python -m repro train lenet5 --runs 'a b'"
    assert found["version"] == cnn_repro.__version__
    assert {"python", "tensorflow", "keras", "numpy"} <= found["versions"].keys()
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["hardware"]["cores"] >= 1 and found["hardware"]["processor"] and found["hardware"]["memory_gib"] > 0
    root = Path(records.__file__).parents[1]
    if (root / ".git").exists():
        assert len(found["commit"]) == 40 and set(found["commit"]) <= set("0123456789abcdef")
        assert isinstance(found["dirty"], bool)
    json.dumps(found, allow_nan=False)


def test_the_command_names_the_program_and_not_where_it_lies(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/cnn-repro", "list"])
    assert records.provenance()["command"] == "cnn-repro list"
    monkeypatch.setattr(sys, "argv", [])
    assert records.provenance()["command"] == "''"


@pytest.mark.parametrize("git", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 20),
                                 subprocess.CalledProcessError(128, "git")])
def test_without_git_there_is_no_commit_and_no_failure(monkeypatch, git):
    def fail(*_, **__):
        raise git

    monkeypatch.setattr(records.subprocess, "run", fail)
    found = records.provenance()
    assert (found["commit"], found["dirty"]) == ("", None)


def test_outside_a_checkout_there_is_no_commit_even_inside_another_ones(tmp_path, monkeypatch):
    installed = tmp_path / "site-packages" / "cnn_repro" / "repro" / "record.py"
    monkeypatch.setattr(records, "__file__", str(installed))
    monkeypatch.chdir(Path(__file__).parent)                # the current folder is not asked
    assert records.provenance()["commit"] == ""


def test_a_commit_knows_whether_code_differs_but_not_for_records(tmp_path, monkeypatch):
    root = tmp_path / "checkout"
    (root / "repro").mkdir(parents=True)
    git = lambda *words: subprocess.run(                                                    # noqa: E731
        ["git", "-C", root, "-c", "user.name=n", "-c", "user.email=e", *words], check=True, capture_output=True)
    git("init", "-q")
    (root / "repro" / "record.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "one")
    monkeypatch.setattr(records, "__file__", str(root / "repro" / "record.py"))
    assert records.provenance()["dirty"] is False
    write_record(root / "reports" / "records" / "a.json", RECORD)
    write_atomically(root / "reports" / "html" / "index.html", b"")
    assert records.provenance()["dirty"] is False           # outputs do not change the code that makes the next
    (root / "repro" / "record.py").write_text("2")
    assert records.provenance()["dirty"] is True


def test_ids_never_repeat_and_sort_by_what_and_when(monkeypatch):
    ids = [records.new_id("lenet5", "mnist", "paper", "s0") for _ in range(200)]
    assert len(set(ids)) == 200 and all(name.startswith("lenet5-mnist-paper-s0-2") for name in ids)

    class Clock(records.datetime):
        times = iter([records.datetime(2026, 1, 2, 3, 4, 5), records.datetime(2026, 1, 2, 3, 4, 6),
                      records.datetime(2026, 10, 1), records.datetime(2027, 1, 1)])

        @classmethod
        def now(cls, _):
            return next(cls.times)

    monkeypatch.setattr(records, "datetime", Clock)
    dated = [records.new_id("a") for _ in range(4)]
    assert dated == sorted(dated) and dated[0].startswith("a-20260102T030405-")


def test_times_are_utc_to_the_second():
    text = records.now()
    assert time.strptime(text, "%Y-%m-%dT%H:%M:%SZ") and len(text) == 20


def test_peak_memory_is_this_processs_in_mib():
    assert 10 < records.peak_memory_mib() < 2**20
