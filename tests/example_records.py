"""Synthetic records for the report's tests: the schema's form, invented numbers. No evidence: never commit them.

`training` and `gradients` make one record each; `demonstration` enough to fill every block of the page.
"""
import base64
import math
import random
import struct
import zlib

from cnn_repro.repro.papers import Card, Result, Table

DIGITS = [str(digit) for digit in range(10)]
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
DATASETS = {     # classes, images, shape
    "mnist": (DIGITS, (60000, 10000), (28, 28, 1)),
    "cifar10": (CIFAR10, (50000, 10000), (32, 32, 3)),
    "digits": (DIGITS, (1437, 360), (8, 8, 1)),
}
RECIPE = {"optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 1e-4}, "batch": 128,
          "loss": {"name": "cross_entropy"}, "augment": ["pad4_crop32", "flip"],
          "preprocess": "per_pixel_mean",
          "schedule": {"kind": "step", "rate": 0.1, "at": [32000, 48000], "factor": 0.1, "stop": 64000},
          "validation": 0, "gaps": ["what happens at the border is not said; zeros here"]}


def card(name="paper2001", architecture="net", dataset="cifar10", results=None, **more) -> Card:
    """A paper with one network; by default it claims a test error of 8 % and 1,000 parameters."""
    if results is None:
        results = (result(architecture, dataset),
                   result(architecture, dataset, metric="parameters", value=1000))
    return Card(**{"name": name, "title": "A Paper", "authors": "A. Author", "venue": "Somewhere",
                   "year": 2001,
                   "architectures": (architecture,), "results": tuple(results),
                   "recipes": {"paper": {key: value for key, value in RECIPE.items()}}} | more)


def result(architecture="net", dataset="cifar10", metric="test_error", value=8.0, **more) -> Result:
    unit = "%" if metric.endswith("_error") else "count"
    return Result(**{"architecture": architecture, "dataset": dataset, "metric": metric, "value": value,
                     "unit": unit,
                     "source": "Table 1"} | more)


def training(architecture="net", dataset="cifar10", seed=0, test_error: float | None = 8.0, recipe="paper",
             status="finished", layers="explicit", epochs=12, differences=(), model=None, pictures=False,
             **more) -> dict:
    """One training record. `more` replaces whole top-level keys."""
    chance = random.Random(ascii((architecture, dataset, seed, recipe, layers)))
    classes, (train, test), shape = DATASETS.get(dataset, (["a", "b"], (100, 100), (8, 8, 1)))
    finished = status == "finished"
    held_out = 0 if recipe == "paper" else train // 10
    record = {
        "schema": 1, "kind": "training",
        "id": f"{architecture}-{dataset}-{recipe}-{layers}-s{seed}-20260102T03040{seed % 10}",
        "status": status, "reason": "" if finished else f"{status} at step 400",
        "started": "2026-01-02T03:04:05Z",
        "ended": f"2026-01-02T{4 + seed % 10:02}:04:05Z", "wall_seconds": 3210.5 + seed,
        "peak_memory_mib": 1850,
        "command": f"python -m repro train {architecture} --dataset {dataset} --recipe {recipe} --seed {seed}",
        "commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False, "version": "0.1.0",
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.3.0"},
        "hardware": {"processor": "Example CPU @ 2.00 GHz", "cores": 2, "memory_gib": 8.0, "accelerators": [],
                     "platform": "Linux x86_64"},
        "backend": "tensorflow", "precision": "float32", "deterministic": False, "layers": layers,
        "paper": "paper2001",
        "architecture": architecture, "seed": seed,
        "dataset": {"name": dataset, "version": "3.0.2", "sha256": "ab" * 32,
                    "identity": f"known: {dataset} 3.0.2",
                    "splits": {"train": train - held_out, "validation": held_out, "test": test},
                    "classes": classes},
        "recipe": {"name": recipe, "sha256": ascii(recipe).encode().hex().ljust(64, "0"), "overrides": {},
                   "why": "" if recipe == "paper" else "one CPU, one evening; compare within this recipe only",
                   "resolved": RECIPE, "differences": list(differences)},
        "model": model or {"input_shape": list(shape), "parameters": 1000, "multiply_adds": 2000,
                           "layers": []},
        "history": history(chance, epochs, test_error or 60.0, held_out > 0),
        "result": {}, "host": None,
    }
    if finished and test_error is not None:
        record["result"] = {"test_error": test_error, "test_loss": 0.3, "test_images": test,
                            "train_error": round(test_error / 3, 2), "validation_error": None,
                            "parameters": 1000}
        labels = [chance.randrange(len(classes)) for _ in range(min(test, 2000))]
        wrong = [chance.random() < test_error / 100 for _ in labels]
        record["predictions"] = {"labels": labels, "scores": [900] * len(labels), "classes": [
            (label + chance.choice((1, 1, 2, 5))) % len(classes) if off else label
            for label, off in zip(labels, wrong)]}
    if pictures:
        record["samples"] = [sample(chance, i, classes, shape, right=i < 8) for i in range(16)]
        cin = shape[-1]
        record["learned"] = {
            "layer": "conv1", "shape": [5, 5, cin, 16],
            "kernels": [[[[round(math.sin((f + 1) * (y - 2) / 3 + f * x / 4 + c) + chance.gauss(0, .15), 3)
                           for f in range(16)] for c in range(cin)] for x in range(5)] for y in range(5)],
            "feature_maps": {"layer": "conv1", "index": 17, "images": [
                png(blob(chance, 14, 14, 1)) for _ in range(16)]}}
    return record | more


def history(chance, epochs: int, end: float, validation: bool) -> list[dict]:
    """A plausible descent to `end` % with two rate drops."""
    rows, drops = [], (epochs // 2, epochs * 3 // 4)
    for epoch in range(1, epochs + 1):
        rate = 0.1 * 0.1 ** sum(epoch > drop for drop in drops)
        plateau = end * (1.9 if rate > 0.05 else 1.15 if rate > 0.005 else 1.0)
        error = plateau + (75 - plateau) * math.exp(-6 * epoch / epochs) + chance.gauss(0, plateau / 25)
        rows.append({"epoch": epoch, "step": epoch * 391, "rate": rate, "train_loss": 1.0, "seconds": 60.0,
                     "train_error": round(max(error * 0.7, 0), 3),
                     "validation_loss": 1.0 if validation else None,
                     "validation_error": round(max(error, 0), 3) if validation else None,
                     "images_per_second": round(chance.gauss(820, 8), 1)})
    return rows


def gradients(backend="tensorflow", worst=1e-9, **more) -> dict:
    """One gradient check; `worst` is the error of its last case, the threshold 1e-6."""
    rows = []
    for operator in ("Conv2D", "DepthwiseConv2D", "MaxPooling2D", "BatchNormalization", "Dense",
                     "Subsampling2D"):
        for against in ("stock", "central differences", "loops", "adjoint"):
            if against == "adjoint" and operator in ("MaxPooling2D", "BatchNormalization"):
                continue
            for case in ("5x5 kernel 3x3 stride 1 same", "7x6 kernel 3x2 stride 2 valid"):
                for argument in ("input", "kernel"):
                    rows.append({"operator": operator, "case": case, "argument": argument, "against": against,
                                 "dtype": "float64", "compiled": False, "threshold": 1e-6, "passed": True,
                                 "error": 3e-13 if against == "stock" else 4e-9})
    rows[-1] |= {"error": worst, "passed": worst <= 1e-6}
    base = training()
    keep = ("started", "ended", "wall_seconds", "commit", "dirty", "version", "versions", "hardware")
    return {"schema": 1, "kind": "gradients", "id": f"gradients-{backend}-20260102T000000",
            "status": "finished",
            "reason": "", "command": "python -m repro check", "backend": backend, "rows": rows,
            "passed": all(row["passed"] for row in rows)} | {key: base[key] for key in keep} | more


def bench(backend="tensorflow", ratios=(1.1, 0.95), memory=1.05, forms=True, **more) -> dict:
    """One benchmark: a network a ratio, two operators, the second refused, and three forms of one gradient."""
    def row(kind, name, ratio, **more):
        return {"kind": kind, "name": name, "batch": 128, "error": 1e-6, "threshold": 1e-3, "rounds": 9,
                "ours_ms": 100.0, "stock_ms": round(100 * ratio, 4), "ratio": ratio, "low": round(ratio - 0.02, 4),
                "high": round(ratio + 0.03, 4)} | more
    rows = [row("network", f"net{i}", ratio, memory_ours_mib=round(200 * memory, 1), memory_stock_mib=200.0,
                memory_ratio=memory) for i, ratio in enumerate(ratios)]
    rows += [row("operator", "Conv2D(16, 3, same, no bias) on 32×32×16", 1.02),
             {"kind": "operator", "name": "Dense(10) on 84", "batch": 128, "error": 0.5, "threshold": 1e-3,
              "refused": "ours and stock differ by 5.0e-01, allowed 1e-03: not timed"}]
    rows += [row("form", "kernel gradient of Conv2D(16, 3, same, no bias) on 32×32×16", ratio, form=form,
                 formula=f"the formula of {form}") for form, ratio in (
                     ("layers kernel gradient", 1.0), ("product a tap", 1.3), ("patches", 0.2)) if forms]
    base = training()
    keep = ("started", "ended", "wall_seconds", "commit", "dirty", "version", "versions", "hardware")
    return {"schema": 1, "kind": "bench", "id": f"bench-{backend}-20260102T000000", "status": "failed",
            "reason": "Dense(10) on 84", "command": "python -m repro bench", "backend": backend, "compile": "graph",
            "goals": {"mean": 1.0, "network": 0.9, "memory": 1.1}, "memory_method": "in a fresh process",
            "geometric_mean": round(math.prod(ratios) ** (1 / len(ratios)), 4) if ratios else None,
            "rows": rows} | {key: base[key] for key in keep} | more


def evaluation(architecture="net", dataset="imagenette", classes=10, error=9.0) -> dict:
    """One evaluation of published weights; of ten classes the error among all thousand is 20 points more."""
    base = training()
    keep = ("started", "ended", "wall_seconds", "commit", "dirty", "version", "versions", "hardware", "backend")
    of_all = error if classes == 1000 else error + 20
    return {"schema": 1, "kind": "evaluation", "id": f"evaluation-{architecture}-{dataset}-20260102T000000",
            "status": "finished", "command": f"python -m repro evaluate {architecture}", "architecture": architecture,
            "paper": "paper2001", "views": "shorter side 256, middle 224×224", "scale": "torch",
            "weights": {"file": "net.safetensors", "sha256": "ab" * 32, "project": "torchvision",
                        "origin": "a package, its weights.pkl"},
            "dataset": {"name": dataset, "read": dataset, "version": "1.0.0", "images": 3925, "of": 3925,
                        "classes": classes, "remark": ""},
            "result": {"top1_error": error, "top5_error": error / 4, "top1_error_of_all": of_all,
                       "top5_error_of_all": of_all / 4}} | {key: base[key] for key in keep}


# ------------------------------------------------------------------------------------------------- pictures

def png(pixels: list[list[tuple[int, ...]]]) -> str:
    """Base64 PNG of rows of grey (v,) or colour (r, g, b) pixels."""
    colour = 2 if len(pixels[0][0]) == 3 else 0
    chunk = lambda kind, data: (struct.pack(">I", len(data)) + kind + data                  # noqa: E731
                                + struct.pack(">I", zlib.crc32(kind + data)))
    lines = b"".join(b"\0" + bytes(value for pixel in line for value in pixel) for line in pixels)
    header = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, colour, 0, 0, 0)
    data = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR",
                                         header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND",
                                                                                                   b""))
    return base64.b64encode(data).decode()


def blob(chance, height: int, width: int, channels: int) -> list:
    """A soft blot on a plain ground: what a picture of something looks like from afar."""
    y0, x0, r = chance.uniform(.3, .7) * height, chance.uniform(.3, .7) * width, chance.uniform(.15,
                                                                                                .35) * width
    ground, ink = [[chance.randrange(256) for _ in range(channels)] for _ in "ab"]
    def pixel(y, x):
        near = math.exp(-(((y - y0) / r) ** 2 + ((x - x0) / r) ** 2) ** 2)
        return tuple(int(a + (b - a) * near) for a, b in zip(ground, ink))
    return [[pixel(y, x) for x in range(width)] for y in range(height)]


def sample(chance, index: int, classes: list, shape: tuple, right: bool) -> dict:
    label, share, top = chance.randrange(len(classes)), chance.uniform(.4, .98), []
    first = label if right else (label + 1) % len(classes)
    for i in range(min(5, len(classes))):
        top.append([(first + i) % len(classes), round(share, 3)])
        share = min(share, (1 - sum(value for _, value in top)) * .6)
    return {"index": 17 + 101 * index, "label": label, "right": right, "top5": top,
            "image": png(blob(chance, *shape)), "saliency": png(blob(chance, *shape[:2], 1))}


# --------------------------------------------------------------------------------------------------- models

def layer(name, kind, output, parameters=0, multiply_adds=0, kernel=None, stage=None, field=1,
          **more) -> dict:
    return {"name": name, "type": kind, "output": list(output), "kernel": kernel, "parameters": parameters,
            "multiply_adds": multiply_adds, "activation_bytes": 4 * math.prod(output),
            "receptive_field": field,
            "stage": stage} | more


def lenet5() -> dict:
    """As in section II.B of the paper, except that a fault is put into S4 so that the page has one to mark."""
    rows = [("C1", "Conv2D", (28, 28, 6), 156, 117600, [5, 5], 5, 122304),
            ("S2", "Subsampling2D", (14, 14, 6), 12, 0, None, 6, 5880),
            ("C3", "TableConv2D", (10, 10, 16), 1516, 150000, [5, 5], 14, 151600),
            ("S4", "Subsampling2D", (5, 5, 16), 16, 0, None, 16, 2000),
            ("C5", "Conv2D", (1, 1, 120), 48120, 48000, [5, 5], 32, 48120),
            ("F6", "Dense", (84,), 10164, 10080, None, 32, 10164),
            ("OUTPUT", "RadialBasis", (10,), 0, 840, None, 32, 840)]
    layers = [layer("input", "InputLayer", (32, 32, 1))]
    for name, kind, output, parameters, multiply_adds, kernel, field, connections in rows:
        layers.append(layer(name.lower(), kind, output, parameters, multiply_adds, kernel, None, field,
                            connections=connections))
        layers.append(layer(f"{name.lower()}_squash", "Squash", output, stage=name, field=field))
    return {"input_shape": [32, 32, 1], "parameters": 60000, "trainable": 60000, "multiply_adds": 326520,
            "connections": 340908, "layers": layers}


def resnet20() -> dict:
    layers, width, size, field = [layer("input", "InputLayer", (32, 32, 3))], 3, 32, 1
    def conv(name, out, stride, stage):
        nonlocal width, size, field
        size, field = size // stride, field + 2 * (32 // size)
        shape = (size, size, out)
        layers.append(layer(f"{name}_conv", "Conv2D", shape, 9 * width * out, 9 * width * out * size * size,
                            [3, 3], None, field))
        layers.append(layer(f"{name}_bn", "BatchNormalization", shape, 2 * out, 0, None, None, field))
        layers.append(layer(f"{name}_relu", "ReLU", shape, stage=stage, field=field))
        width = out
    conv("conv1", 16, 1, "conv1")
    for i, out in enumerate((16, 32, 64), 2):
        for j in range(6):
            conv(f"conv{i}_{j // 2 + 1}_{j % 2 + 1}", out, 2 if i > 2 and j == 0 else 1,
                 f"conv{i}" if j == 5 else None)
    layers += [layer("pool", "GlobalAveragePooling2D", (64,), stage="pool", field=field),
               layer("fc", "Dense", (10,), 650, 640, stage="fc", field=field),
               layer("scores", "Activation", (10,), field=field)]
    return {"input_shape": [32, 32, 3], "parameters": sum(row["parameters"] for row in layers),
            "non_trainable": 1376,
            "multiply_adds": sum(row["multiply_adds"] for row in layers), "layers": layers}


def demonstration() -> list[dict]:
    """A suite's first week: three LeNets, short ResNets, smoke runs, failures, gradient evidence."""
    short = [{"key": "schedule.stop", "paper": 64000, "here": 6400},
             {"key": "schedule.at", "paper": [32000, 48000], "here": [3200, 4800]},
             {"key": "validation", "paper": 0, "here": 5000}]
    smoke = [*short, {"key": "batch", "paper": 128, "here": 32}]
    lenet = [{"key": "optimizer.name", "paper": "sdlm", "here": "sgd"},
             {"key": "batch", "paper": 1, "here": 64},
             {"key": "schedule.rates", "paper": [.0005] * 12 + [1e-5] * 8, "here": None},
             {"key": "validation", "paper": 0, "here": 5000}]
    records = [training("lenet5", "mnist", seed, error, epochs=20, model=lenet5(), pictures=True)
               for seed, error in enumerate((0.93, 0.98, 0.95))]
    records += [training("lenet5", "mnist", seed, error, "short", epochs=12, model=lenet5(),
                         differences=lenet)
                for seed, error in enumerate((1.02, 1.31, 1.09))]
    records += [training("resnet20_cifar", "cifar10", seed, error, "short", epochs=19, model=resnet20(),
                         pictures=True, differences=short)
                for seed, error in enumerate((9.62, 9.31, 9.88))]
    records += [training("resnet20_cifar", "cifar10", 0, 9.55, "short", layers="stock", epochs=19,
                         model=resnet20(), differences=short),
                training("resnet20_cifar", "cifar10", 7, None, "short", "diverged", epochs=6,
                         model=resnet20(), differences=short,
                         reason="diverged at step 2204: loss is nan"),
                training("resnet20_cifar", "digits", 0, 3.33, "smoke", epochs=3, model=resnet20(),
                         differences=smoke),
                training("lenet5_modern", "digits", 0, 2.78, "smoke", epochs=10, differences=smoke,
                         pictures=True),
                training("plain20_cifar", "cifar10", 0, None, "short", "interrupted", epochs=4,
                         model=resnet20(), differences=short),
                training("plain110_cifar", "cifar10", 1, 63.0, "paper", model=resnet20(), epochs=40),
                training("plain110_cifar", "cifar10", 2, 71.0, "paper", model=resnet20(), epochs=40),
                training("plain110_cifar", "cifar10", 3, 88.0, "paper", model=resnet20(), epochs=40),
                training("resnet56_cifar", "cifar10", 0, 6.9, "paper", epochs=164, model=resnet20())]
    return [*records, gradients(), gradients("jax", worst=3e-5), evaluation("squeezenet"), bench(),
            bench("jax", (1.2, 0.85), 1.3, compile="xla")]


TABLE = Table("net", "Table 2", ({"stage": "conv1", "output": [8, 8, 4], "parameters": 100},
                                 {"stage": "gone", "output": [1]}))
