"""The folder of one run: who holds it, what it was asked for, what it has written.

    config.json      what was asked for; the same command again must ask for the same
    lock             held while a process trains; the system lets go of it when that process ends, however it ends
    checkpoints/     the last states (checkpoint.py)
    log.jsonl        a line every 50 steps and an epoch: loss, error, rate; an epoch's has images a second too
    model.keras      the trained network behind its preprocessing
    record.json      what the report reads, from the first moment on
"""
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import socket
import time
from pathlib import Path

from .. import record as records
from . import checkpoint

ROOT = Path(__file__).resolve().parents[2]
LOOKING = 0.2           # seconds; a suite that looks whether somebody trains here holds the lock for less
ENDED = ("finished", "diverged", "stuck")       # statuses of a record after which the same command would end so again
CODE = ("layers", "architectures", "repro/training", "repro/data", "repro/papers")      # what a training depends on
OWN = ("lock", "config.json", "record.json", "log.jsonl", "checkpoints")      # one of them makes a folder a run directory
# what a kill leaves of a file that is still being written: by write_atomically, checkpoint.save and export.save
HALF_WRITTEN = re.compile(
    r"\.(config\.json|record\.json|log\.jsonl)\.[a-z0-9_]{8}|\.step-\d{9}\.checkpoint\.\w+|\.model\.\d+\.keras")
# what --force cannot change: with these the checkpoint would be of something else, or its positions mean other images
FIXED = ("architecture", "layers", "seed", "dataset.name", "recipe.resolved.batch", "recipe.resolved.validation")


class RunError(ValueError):
    """A run directory that cannot be used; one line with what mends it."""


class RunDirectory:
    """`with RunDirectory(path) as run:` takes the lock, or raises RunError naming who holds it.

    A folder that holds something else than a run is refused and left as it is.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self._lock = None

    def __enter__(self):
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            there = {path.name for path in self.path.iterdir()}
            if there and there.isdisjoint(OWN):
                raise RunError(f"{self.path} holds other files ({min(there)}) and no run: choose an empty or new "
                               "directory with --run DIR")
            self._lock = open(self.path / "lock", "a+", encoding="utf-8")
        except OSError as error:
            raise RunError(f"{self.path}: cannot be a run directory ({error.strerror}); choose another with "
                           "--run DIR") from None
        try:
            self._take_lock()
        except BlockingIOError:
            holder = _holder(self._lock)
            self._lock.close()
            raise RunError(f"{self.path} is being trained by {holder}; wait for it, or choose another directory with "
                           "--run DIR") from None
        except OSError as error:
            self._lock.close()
            raise RunError(f"{self.path}: this file system has no locks ({error.strerror}); choose a directory on "
                           "another with --run DIR") from None
        self._lock.truncate(0)
        self._lock.write(json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": records.now()}))
        self._lock.flush()
        for place in (self.path, self.checkpoints):         # who holds the lock alone writes these
            for path in place.glob(".*"):
                if HALF_WRITTEN.fullmatch(path.name):
                    path.unlink()
        return self

    def _take_lock(self) -> None:
        until = time.monotonic() + LOOKING
        while True:
            try:
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def __exit__(self, *_):
        self._lock.close()                  # lets go; the file stays, since removing it could remove a newer holder's

    # ------------------------------------------------------------------------------------------------- config
    def agree(self, config: dict, force: bool = False) -> dict:
        """Write `config` into a new directory, or compare it with the one that is there; returns what now holds.

        Before the first checkpoint a new configuration takes the old one's place. Raises RunError with the differences
        where they are not the same; with `force` they are noted in it, with the checkpoint from which they hold, and
        the run gets the new `id`. What is FIXED cannot be forced.
        """
        path, config = self.path / "config.json", json.loads(json.dumps(config))        # tuples are lists on the disk
        reached = [path.name for path in self.checkpoints.glob("*.checkpoint")]
        if not path.exists() and reached:
            raise RunError(f"{path} is missing beside checkpoints; choose another directory with --run DIR")
        if not reached:
            return self._write(config | {"forced": []})
        before = _read(path)
        changed = sorted(difference(_asked(before), _asked(config)))
        self._refuse([one for one in changed if not force or one[0].startswith(FIXED)], force)
        if not changed:
            return before
        noted = [{"key": key, "was": old, "is": new, "from": max(reached)} for key, old, new in changed]
        return self._write(config | {"forced": [*before.get("forced", []), *noted]})

    def same_job(self, config: dict) -> str:
        """Words on the code and versions of a run that has ended, where they were not today's.

        Raises RunError where it was of something else than `config` asks for.
        """
        changed = sorted(difference(_asked(_read(self.path / "config.json")), _asked(json.loads(json.dumps(config)))))
        computing = [one for one in changed if one[0].startswith(("code_sha256", "versions"))]
        self._refuse([one for one in changed if one not in computing])
        return ", by other code or versions than now" if computing else ""

    def _write(self, config: dict) -> dict:
        with self._writing("config.json", "the configuration"):
            records.write_atomically(self.path / "config.json", (json.dumps(config, indent=1) + "\n").encode())
        return config

    @contextlib.contextmanager
    def _writing(self, name: str, what: str):
        """Within it what the system refuses is told with the file and what to do."""
        try:
            yield
        except OSError as error:
            raise RunError(f"{self.path / name}: cannot write {what} ({error.strerror or error}); what was there before "
                           "is intact: free space and give the same command again") from None

    def _refuse(self, changed: list, forced: bool = False) -> None:
        if changed:
            shown = "; ".join(f"{key} was {old}, is {new}" for key, old, new in changed[:6])
            more = f" and {len(changed) - 6} more" if len(changed) > 6 else ""
            last = "which cannot be forced" if forced else "or --force to go on all the same"
            raise RunError(f"{self.path} was begun with another configuration: {shown}{more}. Give the old one, or "
                           f"another directory with --run DIR, {last}")

    def record(self) -> dict | None:
        """The record of what ran here before, where there is one that can be read."""
        path = self.path / "record.json"
        try:
            return records.read_record(path) if path.exists() else None
        except records.RecordError:
            return None                     # the checkpoints hold what counts

    def write_record(self, record: dict) -> None:
        with self._writing("record.json", "the record"):
            records.write_record(self.path / "record.json", record)

    def write_model(self, model) -> None:
        from .export import save            # Keras: not where a suite only looks at the directory
        with self._writing("model.keras", f"the model of {4 * model.count_params() / 2**20:.1f} MiB"):
            save(model, self.path / "model.keras")

    # --------------------------------------------------------------------------------------------- checkpoints
    def newest(self):
        """As checkpoint.load_newest."""
        return checkpoint.load_newest(self.checkpoints)

    def keep(self, step: int, numbers: dict, arrays) -> None:
        """As checkpoint.save."""
        checkpoint.save(self.checkpoints, step, numbers, arrays)

    # ---------------------------------------------------------------------------------------------------- log
    def cut_log(self, step: int) -> None:
        """Drop the lines after `step`: they are of steps that will be taken again."""
        path = self.path / "log.jsonl"
        if path.exists():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            with self._writing("log.jsonl", "the log"):
                records.write_atomically(path, "".join(f"{line}\n" for line in kept).encode())

    def log(self, **line) -> dict:
        """Append a line, and return it as it stands there."""
        line = {"time": records.now(), **line}
        with self._writing("log.jsonl", "the log"), open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line


class FollowedRun:
    """The run of a process that computes with a chief: the same state, and nothing on the disk. See RunDirectory."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def record(self) -> None:
        return None

    def agree(self, config: dict, force: bool = False) -> dict:
        return config | {"forced": []}

    def same_job(self, config: dict) -> str:
        return ""

    def newest(self) -> None:
        return None

    def keep(self, step: int, numbers: dict, arrays) -> None:
        next(checkpoint.encoded(step, numbers, arrays))         # raises NotFinite where the chief does

    def cut_log(self, step: int) -> None:
        pass

    def log(self, **line) -> None:
        pass

    def write_record(self, record: dict) -> None:
        pass

    def write_model(self, model) -> None:
        pass


def run_name(architecture: str, dataset: str, recipe: str, seed: int, layers: str, recipe_sha256: str,
             changed: bool) -> str:
    """The directory's name where none is given: the same command, the same directory."""
    parts = [architecture, in_a_name(dataset), recipe, f"s{seed}"]
    return "-".join(parts + ["stock"] * (layers == "stock") + [recipe_sha256[:8]] * changed)


def in_a_name(dataset: str) -> str:
    """imagenette/160px-v2 or folder:PATH as part of a file's name."""
    return dataset.replace("/", "_").replace(":", "_")


def code_sha256() -> str:
    """sha256 over the program text that a training depends on."""
    digest = hashlib.sha256()
    for room in CODE:
        for path in sorted((ROOT / room).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()


def versions() -> dict:
    """What computes: its versions can change the last bits."""
    import keras
    found = records.versions()
    computing = ("keras", keras.backend.backend(), "numpy")
    return {name: found[name] for name in computing if name in found} | {"python": platform.python_version()}


def difference(old, new, key=""):
    """(dotted key, old, new) wherever two configurations differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from difference(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    elif old != new:
        yield key, _short(old), _short(new)


def _asked(config: dict) -> dict:
    """Of a configuration what a command asks for: neither the run's name nor what was forced before."""
    return {key: value for key, value in config.items() if key not in ("id", "forced")}


def _short(value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"


def _read(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    except (OSError, ValueError):
        pass
    raise RunError(f"{path} cannot be read; choose another directory with --run DIR")


def _holder(file) -> str:
    file.seek(0)
    try:
        found = json.loads(file.read())
        return f"process {found['process']} on {found['host']} since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")                 # half a line, as a kill leaves it
