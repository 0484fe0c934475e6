"""A graph of seconds. `python tests/communities.py ARGUMENTS…` is the command line with it in Cora's place."""
import sys

import numpy as np


class Communities:
    """A hundred papers of two fields that mostly cite their own."""
    name, kind, version, sha256, identity, classes = "cora", "graph", "1", "0", "made here", ("a", "b")
    splits, shape, enlarge = {"train": 40, "test": 40}, (100, 32), "pad"

    def __init__(self):
        random = np.random.default_rng(0)
        labels = np.arange(100) % 2
        linked = [(i, j) for i in range(100) for j in range(i) if random.uniform() < (0.2 if labels[i] == labels[j] else 0.01)]
        words = random.uniform(size=(100, 32)) < np.where((np.arange(32) % 2)[None] == labels[:, None], 0.4, 0.1)
        features = words.astype("float32")
        self.graph = {"features": features, "edges": np.array(linked), "labels": labels, "train": np.arange(40),
                      "validation": np.arange(40, 60), "test": np.arange(60, 100)}


def as_it_should_be(record) -> None:
    """A training on it with 20 nodes to validate on, of 150 steps at most."""
    assert record["status"] == "finished" and record["history"][-1]["step"] <= 150
    assert record["dataset"]["splits"] == {"train": 40, "validation": 20, "test": 40}
    assert len(record["predictions"]["labels"]) == record["result"]["test_images"] == 40
    wrong = np.not_equal(record["predictions"]["labels"], record["predictions"]["classes"])
    assert abs(record["result"]["test_error"] - 100 * wrong.mean()) < 1e-6
    if record["architecture"] == "gcn":
        assert record["result"]["test_error"] <= 10         # neighbours tell what the features alone do not


if __name__ == "__main__":
    from cnn_repro.repro import data
    from cnn_repro.repro.cli import main
    data.load = lambda name: Communities()
    sys.exit(main(sys.argv[1:]))
