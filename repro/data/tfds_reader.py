"""Reads one TensorFlow Datasets copy: a program that the sources of TFDS's data run as a child.

Argument: a JSON object; its "task" is "arrays" (four .npy files, see FromTFDS.write), "index" (where each encoded
image lies in the shards, see EncodedTFDS.write) or "download". The last line of output is another JSON object: {"by"}
or {"error"}. Order of arrays: by the feature `id` where a data set has one (CIFAR-10: the order of the original batch
files), else as stored (MNIST: TFDS's shuffle, which depends only on the positions in the original files).
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
            version = f":{request['version']}" if request["version"] else ""
            builder = tfds.builder(f"{request['tfds']}{version}", data_dir=request["root"])
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
        except Exception as error:
            get = request["get"] or f"with a network, run {again}"
            return {"error": f"could not be downloaded ({_line(error)}); {get}; a copy elsewhere: set TFDS_DATA_DIR"}
    else:
        tfds.disable_progress_bar()
    try:
        if request["task"] == "arrays":
            builder = tfds.builder_from_directory(place)
            _same_classes(builder.info.features["label"].names, request["classes"])
            for part, count in request["splits"].items():
                _read(tfds, builder, part, count, request)
        elif request["task"] == "index":
            _index(request)
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


def _same_classes(found: list[str], wanted: list[str]) -> None:
    """Numbers in place of names, on either side, say nothing of the order."""
    named = not (all(name.isdigit() for name in found) or all(name.isdigit() for name in wanted))
    if named and list(found) != list(wanted):
        first = next((pair for pair in zip(found, wanted) if pair[0] != pair[1]), (len(found), len(wanted)))
        raise Unreadable(f"its classes are others: {first[0]} where {first[1]} is expected")


def _read(tfds, builder, part: str, count: int, request: dict) -> None:
    shape, folder = tuple(request["shape"]), Path(request["folder"])
    labels, ids, filled = np.empty(count, np.int64), [], 0
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)     # one file after the other
    batches = builder.as_dataset(split=request["parts"][part], batch_size=1000, shuffle_files=False, read_config=config)
    # written as they are read (Downsampled ImageNet's 4 GB need not fit into the memory), and not through a memory
    # map: there a full disk is no exception but the end of the process
    with open(folder / f"{part}_images.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)})
        for batch in tfds.as_numpy(batches):
            size = len(batch["label"])
            if filled + size > count or batch["image"].shape[1:] != shape:
                raise Unreadable(f"{part}: expected {count} images of shape {shape}")
            file.write(np.ascontiguousarray(batch["image"], np.uint8).data)
            labels[filled:filled + size] = batch["label"]
            ids.extend(batch.get("id", ()))
            filled += size
    if filled != count:           # records cut at a boundary read short without an error
        raise Unreadable(f"{part}: {filled} images, expected {count}")
    _labels_fit(part, labels, request)
    if ids:
        original = np.argsort(np.array(ids))
        images, labels = np.load(folder / f"{part}_images.npy")[original], labels[original]
        np.save(folder / f"{part}_images.npy", images)
    np.save(folder / f"{part}_labels.npy", labels)


def _index(request: dict) -> None:
    """{part}_index.npy, int64 (N, 3): file, offset and length of each encoded image; {part}_labels.npy.

    A shard is a row of records, each length (8 bytes), checksum (4), data, checksum (4); the data are a tf.train.Example,
    in which the bytes of a feature lie as they are. TensorFlow compares the checksums.
    """
    import tensorflow as tf
    folder, files = Path(request["folder"]), {name: number for number, name in enumerate(request["files"])}
    for part, shards in request["parts"].items():
        index, labels = [], []
        for shard, promised in shards:
            offset, before = 0, len(index)
            for record in tf.data.TFRecordDataset(str(Path(request["place"]) / shard)).as_numpy_iterator():
                features = tf.train.Example.FromString(record).features.feature
                image = features["image"].bytes_list.value[0]
                index.append((files[shard], offset + 12 + record.index(image), len(image)))
                labels.append(features["label"].int64_list.value[0])
                offset += 16 + len(record)
            if len(index) - before != promised:           # records cut at a boundary read short without an error
                raise Unreadable(f"{shard}: {len(index) - before} images, expected {promised}")
        count = request["splits"][part]
        if len(index) != count:
            raise Unreadable(f"{part}: {len(index)} images, expected {count}")
        labels = np.array(labels, np.int64)
        _labels_fit(part, labels, request)
        np.save(folder / f"{part}_index.npy", np.array(index, np.int64).reshape(-1, 3))
        np.save(folder / f"{part}_labels.npy", labels)


def _labels_fit(part: str, labels: np.ndarray, request: dict) -> None:
    if len(labels) and (labels.min() < 0 or labels.max() >= len(request["classes"])):
        raise Unreadable(f"{part}: a label outside 0..{len(request['classes']) - 1}")


def _line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", text)          # TensorFlow's names of graph nodes
    return f"{type(error).__name__}: {' '.join(text.split())[:240]}"


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
