"""What a run leaves behind: one JSON file, written atomically, readable without TensorFlow.

A record holds everything that the report shows of its run, so that the report computes nothing and a record
committed today still renders years later. The standard library is all that this module imports.
"""
import importlib.metadata
import json
import math
import os
import platform
import secrets
import shlex
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

SCHEMA = 1
LARGEST = 64 * 2**20    # bytes; a record is small, and a hostile one must not fill the memory
VERSIONS_OF = ("tensorflow", "keras", "jax", "torch", "numpy", "tensorflow-datasets", "scikit-learn")


class RecordError(ValueError):
    """A record that cannot be read; the text names the file and the reason."""


# ---------------------------------------------------------------------------------------------------- files

def write_atomically(path, data: bytes) -> Path:
    """Write `data` so that `path` holds either its old content or all of the new, whatever happens between."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)    # mkstemp makes it 0600; a report is there to be read
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return path


def sync_folder(folder) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_record(path, record: dict) -> Path:
    """Write one record. NaN and infinities become strings: JSON has no numbers for them."""
    # one top-level key a line: small enough to commit, and git shows what changed
    lines = (f"{json.dumps(key)}:{json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(',', ':'))}"
             for key, value in _speakable(record).items())
    text = "{\n" + ",\n".join(lines) + "\n}"
    # "replace": an argument of the command line may hold bytes that are no UTF-8
    return write_atomically(path, (text + "\n").encode(errors="replace"))


def _speakable(value):
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {str(key): _speakable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_speakable(item) for item in value]
    return value


def read_record(path) -> dict:
    """Read one record of any kind. Raises RecordError when the file is not one."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():            # a pipe would wait for ever
            raise RecordError(f"{path}: not a file")
        if path.stat().st_size > LARGEST:
            raise RecordError(f"{path}: larger than {LARGEST >> 20} MiB, so not a record")
        record = json.loads(path.read_text(encoding="utf-8"))
    except RecordError:
        raise
    except (OSError, ValueError, RecursionError) as error:      # a wrong encoding or JSON is a ValueError
        raise RecordError(f"{path}: not readable as a record ({error})") from None
    if not isinstance(record, dict):
        raise RecordError(f"{path}: a record is a JSON object, this is {type(record).__name__}")
    if record.get("schema") != SCHEMA:
        raise RecordError(f"{path}: schema {record.get('schema')!r}, this version reads {SCHEMA}")
    for key in ("kind", "id", "status"):
        if not isinstance(record.get(key), str):
            raise RecordError(f"{path}: {key!r} is missing or not a text")
    return record


def read_records(folder) -> tuple[list[dict], list[tuple[str, str]]]:
    """All records below `folder` in the order of their file names, and (file, reason) for what is none.

    A run directory's `record.json` and a kept record `<id>.json` both count; other JSON files
    of a run directory (config, history) do not.
    """
    folder = Path(folder)
    records, broken = [], []
    for path in sorted(folder.rglob("*.json")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.name in ("config.json", "history.json", "manifest.json"):
            continue
        try:
            records.append(read_record(path))
        except RecordError as error:
            broken.append((path.relative_to(folder).as_posix(), str(error)))
    return records, broken


# ----------------------------------------------------------------------------------------------- provenance

def now() -> str:
    """UTC time to the second, as in every record."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_id(*parts: str) -> str:
    """A name for a run that sorts by what was run and then by time; it never repeats."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
    return "-".join((*parts, stamp, secrets.token_hex(4)))


def provenance() -> dict:
    """Where a number comes from: commit, versions, hardware, command. Never fails."""
    from .. import __version__
    commit, dirty = _commit()
    return {
        "command": _command(),
        "commit": commit,
        "dirty": dirty,
        "version": __version__,
        "versions": {"python": platform.python_version(), **versions()},
        "hardware": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gib": _memory_gib(),
            "accelerators": [],
            "platform": f"{platform.system()} {platform.machine()}",
        },
    }


def _command() -> str:
    """The command that anyone can type again: without this machine's path of the interpreter."""
    program = sys.argv[0] if sys.argv else ""
    if program.endswith("__main__.py"):
        return shlex.join(["python", "-m", "repro", *sys.argv[1:]])
    return shlex.join([Path(program).name, *sys.argv[1:]])


def _commit() -> tuple[str, bool | None]:
    """The checkout's commit and whether anything in it differs; ('', None) outside a checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return "", None
    try:
        run = lambda *words: subprocess.run(                                        # noqa: E731
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=True).stdout
        # records and built reports are outputs: committing one does not change the code that made the next
        changes = run("status", "--porcelain", "--", ".", ":!reports/records", ":!reports/html")
        return run("rev-parse", "HEAD").strip(), bool(changes.strip())
    except (OSError, subprocess.SubprocessError):
        return "", None


def versions() -> dict:
    """The installed versions of what computes and reads data."""
    found = {}
    for name in VERSIONS_OF:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def peak_memory_mib() -> int | None:
    """The largest resident size of this process so far, in MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (2**20 if sys.platform == "darwin" else 2**10))
