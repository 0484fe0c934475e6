"""Cora: 2,708 papers, the words of each, and who cites whom; the graph of GCN and GAT.

    python -m repro data prepare cora --from FOLDER      # with the eight files ind.cora.* of Planetoid
    python -m repro data prepare cora --from FILE.npz    # the same in plain arrays, see FROM_NPZ

Yang, Cohen and Salakhutdinov's split (arXiv:1603.08861): 20 papers a class to train on, 500 to validate, 1,000 to test.
"""
import io
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .sources import DataError, Source, register

PICKLES = ("x", "tx", "allx", "y", "ty", "ally", "graph")
FROM_NPZ = ("feature_row", "feature_col", "feature_shape", "label", "edge", "train_index", "val_index", "test_index")
GET = "fetch the eight files ind.cora.* of github.com/kimiyoung/planetoid (data/) and run " \
      "`python -m repro data prepare cora --from FOLDER`"


@dataclass(frozen=True)
class Graph(Source):
    """One graph whose vertices are classified. features: words a vertex can have; edges: links."""
    features: int = 0
    edges: int = 0
    validation: int = 0

    kind = "graph"
    absent = "to be given"

    def here(self) -> bool:
        return False

    def arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        vertices = self.shape[0]
        return {"features.npy": ((vertices, self.features), "<f4"), "edges.npy": ((self.edges, 2), "<i8"),
                "labels.npy": ((vertices,), "<i8"), "train.npy": ((self.splits["train"],), "<i8"),
                "validation.npy": ((self.validation,), "<i8"), "test.npy": ((self.splits["test"],), "<i8")}

    def write(self, folder: Path, download: bool, origin: Path | None = None) -> dict:
        if origin is None:
            raise DataError(f"{self.name} is not here: {GET}")
        origin = Path(origin).expanduser()
        try:
            found = _from_npz(origin) if origin.is_file() else _from_planetoid(origin, self.validation)
            found["features"] = row_normalised(found["features"])
            found["edges"] = each_once(found["edges"])
        except FileNotFoundError as error:
            raise DataError(f"{self.name}: {error.filename}: no such file; {GET}") from None
        except (pickle.UnpicklingError, zipfile.BadZipFile, ValueError, IndexError, KeyError, TypeError, EOFError,
                AttributeError) as error:
            line = " ".join(str(error).split())[:200]
            raise DataError(f"{self.name}: {origin} is damaged or no copy of it ({line}); {GET}") from None
        for file, (shape, dtype) in self.arrays().items():
            array = np.asarray(found[file.removesuffix(".npy")])
            if array.shape != shape:
                what = file.removesuffix(".npy")
                raise DataError(f"{self.name}: {origin} is damaged or no copy of it ({what} of shape {array.shape}, "
                                f"expected {shape}); {GET}")
            np.save(folder / file, array.astype(dtype))
        return {"by": "the arrays in " + origin.name if origin.is_file() else "Planetoid's files"}


def row_normalised(features: np.ndarray) -> np.ndarray:
    """X[v,f] / Σ_f X[v,f], float32 (V, F): each vertex's words weigh 1 together; without words it stays 0."""
    sums = features.sum(axis=1, keepdims=True)
    return (features / np.where(sums == 0, 1, sums)).astype(np.float32)


def each_once(links: np.ndarray) -> np.ndarray:
    """Undirected links (E, 2), each once with the lower vertex first, sorted; none from a vertex to itself."""
    links = np.sort(np.asarray(links, np.int64).reshape(-1, 2), axis=1)
    return np.unique(links[links[:, 0] != links[:, 1]], axis=0)


def _from_npz(path: Path) -> dict:
    with np.load(path, allow_pickle=False) as read:
        row, col, shape, label, edge, train, validation, test = (read[key] for key in FROM_NPZ)
    features = np.zeros(tuple(shape), np.float32)
    features[row, col] = 1
    return {"features": features, "edges": edge, "labels": label, "train": train, "validation": validation, "test": test}


def _from_planetoid(folder: Path, validation: int) -> dict:
    """The files x, y are the training papers, allx and ally all but the test ones, tx and ty the test ones in the order
    of test.index, which says where each belongs."""
    read = {key: _load((folder / f"ind.cora.{key}").read_bytes()) for key in PICKLES}
    test = np.array([int(line) for line in (folder / "ind.cora.test.index").read_text().split()], np.int64)
    features = np.concatenate([_dense(read["allx"]), _dense(read["tx"])])
    labels = np.concatenate([read["ally"], read["ty"]])
    features[test], labels[test] = features[np.sort(test)], labels[np.sort(test)]
    train = np.arange(len(read["y"]))
    links = [(vertex, other) for vertex, others in read["graph"].items() for other in others]
    if min(map(min, links)) < 0 or max(map(max, links)) >= len(features):
        raise ValueError("a link to a vertex that there is not")
    return {"features": features, "edges": np.array(links), "labels": labels.argmax(axis=1), "train": train,
            "validation": np.arange(len(train), len(train) + validation), "test": np.sort(test)}


class _Rows:
    """What a pickled SciPy CSR matrix becomes: its attributes, and none of its methods."""
    data = indices = indptr = _shape = None


def _dense(rows: _Rows) -> np.ndarray:
    """Y[i, indices[k]] = data[k] for indptr[i] ≤ k < indptr[i+1]."""
    dense = np.zeros(tuple(int(side) for side in rows._shape), np.float32)
    of_row = np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr))
    dense[of_row, rows.indices] = rows.data
    return dense


class _OnlyArrays(pickle.Unpickler):
    """Reads arrays, sparse matrices, lists and dictionaries. A pickle may name any function to call: here it may only
    name these, so that a hostile one is refused before anything of it runs."""

    def find_class(self, module, name):
        if (module, name) in ADMITTED:
            return ADMITTED[module, name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no copy needs")


def _new_array(subtype, shape, _):
    if subtype is not np.ndarray:
        raise pickle.UnpicklingError("an array of a strange type")
    return np.ndarray(shape, "i1")


def _list(*given):
    return list(*given)


def _defaultdict(factory=None):
    """Without its factory: reading makes no entry."""
    return {}


def _bytes(text, _):
    """Python 3 writes bytes so for Python 2's sake."""
    return text.encode("latin1")


ADMITTED = {
    ("_codecs", "encode"): _bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _new_array for core in ("core", "_core")},
    ("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype,
    **{(f"scipy.sparse.{module}", "csr_matrix"): _Rows for module in ("csr", "_csr")},
    ("collections", "defaultdict"): _defaultdict, ("__builtin__", "list"): _list, ("builtins", "list"): _list,
}


def _load(content: bytes):
    return _OnlyArrays(io.BytesIO(content), encoding="latin1").load()          # written by Python 2


register(Graph(
    name="cora", title="Cora, papers that cite each other", version="1.0.0",
    # in no list of Planetoid's; known by the number of papers that each has
    classes=("theory", "reinforcement learning", "genetic algorithms", "neural networks", "probabilistic methods",
             "case based", "rule learning"),
    shape=(2708, 1433), splits={"train": 140, "test": 1000}, enlarge="pad",
    citation="Sen et al., Collective Classification in Network Data, 2008; split of Yang, Cohen and Salakhutdinov, "
             "arXiv:1603.08861, 2016; no licence stated",
    features=1433, edges=5278, validation=500,
    known={"e6ff631649b88e5f341db1aa4282cebfa02789319ac8be4c6d8bd312bf63547f": "Planetoid's files"}))
