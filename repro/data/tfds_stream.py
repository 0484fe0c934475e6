"""Passes on the encoded images of a TensorFlow Datasets copy, one after the other: streamed.Streamed's child program.

Argument: a JSON object (see Streamed.records). Output, binary: 8 bytes (label, length; big-endian, signed), then so
many bytes of a JPEG file, for each image in the order of the files; and at last the label −1 and a JSON object,
{"images": N} or {"error": line}. Before all of them, in the same form, {"names": [...]}: the labels' names.
"""
import json
import os
import re
import struct
import sys
from pathlib import Path

HEAD = struct.Struct(">ii")


def main(request: dict, out) -> None:
    """Do what `request` asks; every failure becomes one line."""
    def say(**message):
        text = json.dumps(message).encode()
        out.write(HEAD.pack(-1, len(text)) + text)

    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        say(error=f"TensorFlow Datasets cannot be imported ({error}); run `pip install tensorflow-datasets`")
        return
    tfds.disable_progress_bar()
    place, sent = Path(request["place"]), 0
    try:
        builder = tfds.builder_from_directory(place)
        say(names=builder.info.features["label"].names)
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)     # one file after the other
        images = builder.as_dataset(split=request["split"], shuffle_files=False, read_config=config,
                                    decoders={"image": tfds.decode.SkipDecoding()})
        for one in tfds.as_numpy(images.take(request["images"])):
            out.write(HEAD.pack(int(one["label"]), len(one["image"])) + one["image"])
            sent += 1
    except BrokenPipeError:                                 # whoever reads has enough
        return
    except Exception as error:
        line = " ".join(str(error).split())
        line = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", line)[:240]          # TensorFlow's names of graph nodes
        say(error=f"the TFDS copy in {place} is damaged ({type(error).__name__}: {line}), found at image {sent + 1}")
        return
    say(images=sent)


if __name__ == "__main__":
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)                                           # whatever prints, prints elsewhere
    with stream:
        main(json.loads(sys.argv[1]), stream)
