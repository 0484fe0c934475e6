"""Reads one TensorFlow Datasets copy into four .npy files: a program that sources.FromTFDS runs as a child.

Argument: a JSON object (see FromTFDS.write). Its last line of output is another: {"by"} or {"error"}.
Order: by the feature `id` where a data set has one (CIFAR-10: the order of the original batch files), else as
stored (MNIST: TFDS's shuffle, which depends only on the positions in the original files).
"""
import errno
import json
import logging
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np


class Unreadable(Exception):
    """The copy is not what its version promises."""


def main(request: dict) -> dict:
    """Do what `request` asks; every failure becomes one line."""
    name, place = request["name"], Path(request["place"])
    again = f"`python -m repro data prepare {name}`"
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        return {"error": f"TensorFlow Datasets cannot be imported ({_line(error)}); "
                         "run `pip install tensorflow-datasets`"}
    logging.getLogger("absl").setLevel(logging.ERROR)
    if request["download_from"]:
        try:
            _reach(request["download_from"])
            builder = tfds.builder(f"{name}:{request['version']}", data_dir=place.parents[1])
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
        except Exception as error:
            return {"error": f"could not be downloaded ({_line(error)}); with a network, run {again}; "
                             "a copy elsewhere: set TFDS_DATA_DIR"}
    else:
        tfds.disable_progress_bar()
    try:
        builder = tfds.builder_from_directory(place)
        for part, count in request["splits"].items():
            _read(tfds, builder, part, count, request)
    except Exception as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return {"error": f"cannot write the prepared copy ({_line(error)}); "
                             f"free space or set CNN_REPRO_DATA, then run {again}"}
        return {"error": f"the TFDS copy in {place} is damaged ({_line(error)}); "
                         f"move it away and run {again}"}
    return {"by": f"tensorflow-datasets {tfds.__version__}"}


def _reach(address: str) -> None:
    """Fail within seconds where no network is; TFDS itself retries for minutes. Proxies are honoured."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=20).close()
    except urllib.error.HTTPError:
        pass                      # it answered, and that is all we ask
    except OSError as error:
        raise ConnectionError(f"no answer from {address}: {getattr(error, 'reason', error)}") from None


def _read(tfds, builder, part: str, count: int, request: dict) -> None:
    shape, folder = tuple(request["shape"]), Path(request["folder"])
    images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.int64)
    ids, filled = [], 0
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)     # one file after the other
    batches = builder.as_dataset(split=part, batch_size=1000, shuffle_files=False, read_config=config)
    for batch in tfds.as_numpy(batches):
        size = len(batch["label"])
        if filled + size > count or batch["image"].shape[1:] != shape:
            raise Unreadable(f"{part}: expected {count} images of shape {shape}")
        images[filled:filled + size], labels[filled:filled + size] = batch["image"], batch["label"]
        ids.extend(batch.get("id", ()))
        filled += size
    if filled != count:           # records cut at a boundary read short without an error
        raise Unreadable(f"{part}: {filled} images, expected {count}")
    if labels.min() < 0 or labels.max() >= request["classes"]:
        raise Unreadable(f"{part}: a label outside 0..{request['classes'] - 1}")
    if ids:
        original = np.argsort(np.array(ids))
        images, labels = images[original], labels[original]
    np.save(folder / f"{part}_images.npy", images)
    np.save(folder / f"{part}_labels.npy", labels)


def _line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", text)          # TensorFlow's names of graph nodes
    return f"{type(error).__name__}: {' '.join(text.split())[:240]}"


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
