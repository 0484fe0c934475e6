"""Videos that are made, not filmed: a digit of scikit-learn's moves over a torus.

No frame says in which direction, so a network that answers has seen the motion. Training and test videos show the
digits of other writers (see sources.Digits).
"""
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .sources import Source, register

DIRECTIONS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1), "up left": (-1, -1),
              "up right": (-1, 1), "down left": (1, -1), "down right": (1, 1)}         # rows, columns a frame
DIGITS_FOR_TRAINING = 1437


@dataclass(frozen=True)
class MovingDigits(Source):
    """T frames of a side of S pixels; uint8 (N, T, S, S, 1).

    V[n,t,i,j] = D[(i − row_n − t·speed_n·dy) mod S, (j − column_n − t·speed_n·dx) mod S], where D is the digit,
    enlarged twice, in the upper left of an empty frame; (row, column) is drawn evenly, the speed is 1 or 2 pixels.
    videos_a_digit: how often each digit of scikit-learn's is shown, every time in another direction.
    by_digit: whether a class is digit and direction, or the direction alone.
    """
    directions: tuple[str, ...] = ()
    videos_a_digit: int = 2
    by_digit: bool = False

    kind = "videos"

    def here(self) -> bool:
        return True

    def write(self, folder: Path, download: bool, origin: Path | None = None) -> dict:
        self.refuse(origin)
        import sklearn
        from sklearn.datasets import load_digits
        found = load_digits()
        digits = np.rint(found.images * (255 / 16)).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
        cut = DIGITS_FOR_TRAINING
        for part, images, names in (("train", digits[:cut], found.target[:cut]),
                                    ("test", digits[cut:], found.target[cut:])):
            videos, labels = self._videos(part, images, names)
            np.save(folder / f"{part}_images.npy", videos)
            np.save(folder / f"{part}_labels.npy", labels)
        return {"by": f"scikit-learn {sklearn.__version__}"}

    def _videos(self, part: str, digits: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames, side, _, _ = self.shape
        number = np.arange(len(digits) * self.videos_a_digit)
        which = number % len(digits)
        # raw bits, because NumPy keeps them the same across versions and promises that for no distribution
        key = hashlib.sha256(f"cnn_repro {self.name} {part}".encode()).digest()[:16]
        bits = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(4 * len(number)).reshape(-1, 4)
        rows, columns = bits[:, 0] % side, bits[:, 1] % side
        speeds = 1 + bits[:, 2] % 2
        # dealt out evenly within each digit's name, begun at a direction of each name's own
        place = np.empty(len(number), np.int64)
        for name in range(10):
            own = np.flatnonzero(names[which] == name)
            place[own[np.argsort(bits[own, 3], kind="stable")]] = np.arange(len(own)) + name
        directions = place % len(self.directions)
        videos = np.zeros((len(number), *self.shape), np.uint8)
        empty = np.zeros((side, side), np.uint8)
        for n in number:
            frame = empty.copy()
            frame[:16, :16] = digits[which[n]]
            dy, dx = DIRECTIONS[self.directions[directions[n]]]
            for t in range(frames):
                shift = (int(rows[n]) + t * int(speeds[n]) * dy, int(columns[n]) + t * int(speeds[n]) * dx)
                videos[n, t, :, :, 0] = np.roll(frame, shift, axis=(0, 1))
        labels = names[which] * len(self.directions) + directions if self.by_digit else directions
        return videos, labels.astype(np.int64)


FOUR = tuple(DIRECTIONS)[:4]
CITATION = ("made from Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, "
            "1998, as shipped by scikit-learn; CC BY 4.0")

register(MovingDigits(
    name="moving_digits", title="Moving digits: the direction, 16 frames of 32×32", version="1.0.0",
    classes=tuple(DIRECTIONS), shape=(16, 32, 32, 1), splits={"train": 2 * 1437, "test": 2 * 360}, enlarge="resize",
    citation=CITATION, directions=tuple(DIRECTIONS),
    known={"8ce8bed683de88385c63a909f999dfe898e7c9c7e9f85e9bbeef04cb28290c62": "as made from scikit-learn's digits"}))

register(MovingDigits(
    name="moving_digits_by_digit", title="Moving digits: digit and direction, 16 frames of 32×32", version="1.0.0",
    classes=tuple(f"{digit} {direction}" for digit in range(10) for direction in FOUR), shape=(16, 32, 32, 1),
    splits={"train": 4 * 1437, "test": 4 * 360}, enlarge="resize", citation=CITATION, directions=FOUR,
    videos_a_digit=4, by_digit=True,
    known={"2510364590899c0c9b837027ceafa6e95bf5bcbc8a25abda7bc647829384581a": "as made from scikit-learn's digits"}))
