"""TensorBoard's files of a run, from the same rows as log.jsonl."""
from pathlib import Path

import tensorflow as tf

SHOWN = ("rate", "train_loss", "train_error", "validation_loss", "validation_error", "images_per_second")


class Board:
    """Event files in `folder`, for `tensorboard --logdir`."""

    def __init__(self, folder: Path):
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, row: dict) -> None:
        """What the row holds of SHOWN, at its step."""
        with self._writer.as_default(step=row["step"]):
            for name in SHOWN:
                if row.get(name) is not None:
                    tf.summary.scalar(name, row[name])
        self._writer.flush()
