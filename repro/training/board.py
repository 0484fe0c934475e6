"""TensorBoard's files of a run, from its log. They are written by TensorBoard itself: no TensorFlow is needed."""
import json
from datetime import datetime
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

SHOWN = ("rate", "train_loss", "train_error", "validation_loss", "validation_error", "images_per_second")


class Board:
    """Event files in `folder`, for `tensorboard --logdir`.

    A process begins them anew with all that `log` (log.jsonl) holds: where a resumed run takes steps again, its log has
    been cut before, and no step is drawn twice.
    """

    def __init__(self, folder: Path, log: Path):
        self._folder, self._log, self._writer = folder, log, None

    def write(self, row: dict) -> None:
        """The log's last row; the first time with all that stand before it."""
        rows = [row]
        if self._writer is None:
            for old in self._folder.glob("events.out.tfevents.*"):
                old.unlink()
            self._writer = EventFileWriter(str(self._folder))
            rows = map(json.loads, self._log.read_text(encoding="utf-8").splitlines())
        for one in rows:
            self._add(one)
        self._writer.flush()

    def _add(self, row: dict) -> None:
        values = [Summary.Value(tag=name, simple_value=row[name]) for name in SHOWN if row.get(name) is not None]
        self._writer.add_event(Event(wall_time=datetime.fromisoformat(row["time"]).timestamp(), step=row["step"],
                                     summary=Summary(value=values)))
