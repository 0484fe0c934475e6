"""What a person sees of a training: a bar on a terminal, one line an epoch elsewhere."""
import sys


class Progress:
    """Use as a context: `with Progress(steps, epochs, title) as progress`, then `advance` and `epoch`."""

    def __init__(self, steps: int, epochs: int, title: str, quiet: bool = False):
        self._steps, self._epochs, self._title, self._quiet = steps, epochs, title, quiet
        self._bar = None

    def __enter__(self):
        if sys.stderr.isatty() and not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} steps"),
                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True))
            self._task = self._bar.add_task(self._title, total=self._steps)
            self._bar.start()
        return self

    def __exit__(self, *_):
        if self._bar:
            self._bar.stop()

    def advance(self, steps: int) -> None:
        if self._bar:
            self._bar.advance(self._task, steps)

    def warn(self, text: str) -> None:
        """Something to know while it still trains."""
        self._say(f"warning: {text}")

    def epoch(self, row: dict) -> None:
        """One line: the epoch's row of the history."""
        if self._quiet:
            return
        line = (f"epoch {row['epoch']:3d}/{self._epochs}  step {row['step']:6d}  rate {row['rate']:<8.3g} "
                f"train loss {row['train_loss']:.4f}  error {row['train_error']:5.2f} %")
        if row["validation_error"] is not None:
            loss = "no number" if row["validation_loss"] is None else f"{row['validation_loss']:.4f}"
            line += f"   validation loss {loss}  error {row['validation_error']:5.2f} %"
        line += f"   {row['seconds']:.0f} s  {row['images_per_second']:.0f} images/s"
        self._say(line)

    def _say(self, line: str) -> None:
        if self._bar:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            print(line, flush=True)
