"""The command line: one verb a job. Everything heavy is imported by the verb that needs it."""
import argparse
import contextlib
import os
import re
import shlex
import sys
import tempfile
import tomllib
from difflib import get_close_matches
from pathlib import Path

from . import record as records
from .papers import CardError, RecipeError, card_of, cards

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "reports" / "records"
PAGE = ROOT / "reports" / "html" / "index.html"
INTERRUPTED, TERMINATED = 130, 143      # as shells count Ctrl-C and SIGTERM: a scheduler can tell them from a failure


class UsageError(Exception):
    """A wrong command; exit code 2."""


class Failure(Exception):
    """Anything else that ends a command with one line and exit code 1."""


class Parser(argparse.ArgumentParser):
    """argparse, with the nearest verb where one is mistyped."""

    def error(self, message):
        found = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if found:
            choices = [choice.strip(" '") for choice in found[2].split(",")]        # quoted or not, as Python likes
            near = get_close_matches(found[1], choices, 1)
            message = f"unknown {found[1]!r}" + (f", did you mean {near[0]!r}?" if near else
                                                f"; there are {', '.join(choices)}")
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments=None) -> int:
    """Run one command; returns the exit code: 0 done, 2 wrong usage, 130 and 143 stopped by a signal, 1 all else."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):          # a terminal that cannot show × shows ? instead
            stream.reconfigure(errors="replace")
    options = parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")      # several trials may share one GPU
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        return options.function(options) or 0
    except (UsageError, RecipeError, CardError) as error:
        print(f"repro: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("repro: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:                 # | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        print(f"repro: the package {error.name} is not installed; run `pip install -r requirements.txt`", file=sys.stderr)
        return 1
    except (Failure, LookupError, ValueError, OSError) as error:
        if os.environ.get("CNN_REPRO_TRACEBACK"):
            raise
        print(f"repro: {one_line(error)}", file=sys.stderr)
        return 1
    except Exception as error:                  # noqa: BLE001  a backend's own errors, a mistake of ours
        if os.environ.get("CNN_REPRO_TRACEBACK"):
            raise
        print(f"repro: {type(error).__name__}: {one_line(error)} (CNN_REPRO_TRACEBACK=1 shows where)", file=sys.stderr)
        return 1


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 1000 else text[:1000] + " …"


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="python -m repro", description="Reproductions of convolutional networks, from the backward "
                 "pass to the verdict. CNN_REPRO_TRACEBACK=1 shows where an error came from.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)

    def verb(name, function, text):
        one = verbs.add_parser(name, help=text, description=text)
        one.set_defaults(function=function)
        return one

    one = verb("list", list_networks, "the networks, their papers, recipes and what has been published")
    one.add_argument("network", nargs="?", help="only this one, or a card's name: only its networks; every number")
    one.add_argument("--recipe", metavar="NAME", help="of a network: this recipe (paper, short, smoke) value by value")

    one = verb("show", show, "a network's layers and stages beside the paper's figures, and a drawing of it")
    one.add_argument("network")
    one.add_argument("--stages", action="store_true", help="the stages alone, without the table of layers")
    one.add_argument("--plot", nargs="?", const="", metavar="FILE.svg",
                     help="also draw it (default: NAME.svg, in this folder)")
    one.add_argument("--classes", type=int)
    one.add_argument("--input-shape", help="H,W,C instead of the paper's")
    one.add_argument("--keep", action="store_true", help="write what was counted to reports/records as evidence; with --stages the totals alone")

    one = verb("train", train, "train a network by a paper's recipe and write its record")
    one.add_argument("network")
    one.add_argument("--dataset", help="default: the paper's")
    one.add_argument("--recipe", default="paper", help="paper, short or smoke (default: paper)")
    one.add_argument("--seed", type=int, help="default: 0")
    one.add_argument("--seeds", metavar="A-B", help="several, one after the other, each in its own run directory")
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                     help="change a value of the recipe, e.g. optimizer.momentum=0.8; recorded")
    one.add_argument("--layers", choices=("explicit", "stock"), default="explicit",
                     help="the written-out backward passes, or stock Keras")
    one.add_argument("--engine", choices=("tensorflow", "jax"), help="default: that of KERAS_BACKEND, or tensorflow")
    one.add_argument("--precision", choices=("float32", "bfloat16", "float16"), help="short for --set precision=…")
    one.add_argument("--compile", choices=("graph", "xla"), help="short for --set compile=…")
    one.add_argument("--deterministic", action="store_true",
                     help="deterministic operations: resumed or not, equal bit for bit on one machine")
    one.add_argument("--device", choices=("cpu", "gpu"), help="default: a GPU where there is one")
    one.add_argument("--replicas", type=int, metavar="N", help="spread every batch over N devices of this machine (default: "
                     "all its GPUs, or as many as a batch has images; a processor is divided into parts); over several "
                     "machines: TF_CONFIG, see the README")
    one.add_argument("--run", type=Path, metavar="DIR", help="the run directory (default: one in --runs, named after "
                     "network, data set, recipe and seed); the same command again goes on there")
    one.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where run directories go")
    one.add_argument("--force", action="store_true",
                     help="go on although recipe, code, versions or data are not those that the run was begun with")
    one.add_argument("--tensorboard", action="store_true", help="also write TensorBoard's files into the run directory")
    one.add_argument("--keep", action="store_true", help="copy the record to reports/records as evidence")
    one.add_argument("--quiet", action="store_true")

    one = verb("suite", suite, "train a matrix of networks, data sets, recipes and seeds; the same command goes on with it")
    one.add_argument("suite", nargs="?", help="a suite's name or its TOML file (without one: the names)")
    one.add_argument("--jobs", type=int, metavar="N", help="trials at a time on this machine (default: 1)")
    one.add_argument("--budget", type=float, metavar="MINUTES",
                     help="after this time what runs is told to stop, its state saved")
    one.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where run directories go")
    one.add_argument("--status", action="store_true", default=None, help="how far it is; trains nothing")
    one.add_argument("--ray", metavar="ADDRESS", help="as tasks of a Ray cluster: its address, auto, or local to start one "
                     "here; --jobs are then for each machine")
    one.add_argument("--slurm", type=Path, metavar="FILE", help="write an array script for Slurm; trains nothing")
    one.add_argument("--trial", type=int, metavar="I", help="only the trial of that number, counted from 0, in this process")
    one.add_argument("--engine", choices=("tensorflow", "jax"), help="as for train")
    one.add_argument("--device", choices=("cpu", "gpu"), help="as for train")
    one.add_argument("--replicas", type=int, metavar="N", help="as for train")
    one.add_argument("--deterministic", action="store_true", help="as for train")
    one.add_argument("--keep", action="store_true", help="copy each record to reports/records as its trial ends")

    one = verb("plan", plan, "what a suite would take: time, memory, cost, here and on named GPUs; trains nothing")
    one.add_argument("suite", help="a suite's name or its TOML file")
    one.add_argument("--jobs", type=int, default=1, metavar="N", help="trials at a time on this machine")
    one.add_argument("--price", action="append", default=[], metavar="GPU=PRICE",
                     help="of an hour of it, in any currency, e.g. a100=2.5")
    one.add_argument("--precision", choices=("float32", "mixed"), default="float32", help="of the published throughputs")
    one.add_argument("--engine", choices=("tensorflow", "jax"), help="what is probed (default: as for train)")

    one = verb("evaluate", evaluate, "the test error of a trained model, or top-1 and top-5 with published weights")
    one.add_argument("model", type=Path, help="a run directory or a model.keras; with --weights a network's name")
    one.add_argument("--dataset", help="default: the run's own; with --weights imagenette or imagenet")
    one.add_argument("--weights", type=Path, metavar="FILE",
                     help="keras.applications' (.h5, .weights.h5) or torchvision's (.safetensors, .pth)")
    one.add_argument("--images", type=int, metavar="N", help="with --weights: only the first N")
    one.add_argument("--resize", type=int, metavar="PIXELS", help="with --weights: the shorter side before the "
                     "middle is cut out (default: the project's, 256 for an input of 224)")
    one.add_argument("--scales", type=int, nargs="+", default=[], metavar="PIXELS", help="with --weights: whole images "
                     "and their mirror images in place of the middle, the shorter side at each of these (VGG's dense "
                     "evaluation: 256, or 256 384 512)")
    one.add_argument("--origin", metavar="TEXT", help="with --weights: where the file is from, for its record")
    one.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="with --weights: where its record goes")
    one.add_argument("--keep", action="store_true", help="with --weights: copy the record to reports/records as evidence")

    one = verb("predict", predict, "classes with scores for image files")
    one.add_argument("model", type=Path, help="a run directory or a model.keras")
    one.add_argument("images", type=Path, nargs="+")
    one.add_argument("--top", type=int, default=5)
    one.add_argument("--invert", action="store_true", help="dark on light becomes light on dark, as in MNIST")

    one = verb("check", check, "every backward pass against loops, stock Keras, differences and the adjoint")
    one.add_argument("operators", nargs="*", help="only these, e.g. Conv2D")
    one.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where the record goes")
    one.add_argument("--keep", action="store_true", help="copy the record to reports/records as evidence")

    one = verb("bench", bench, "our layers against stock Keras on the clock, alternating in one run")
    one.add_argument("names", nargs="*", metavar="NAME", help="only these networks and operators, e.g. Conv2D")
    for kind, text in (("network", "training steps of whole networks, and their memory"),
                       ("operator", "forward and backward passes of single layers"),
                       ("form", "other ways to compute the gradients of convolution and pooling")):
        one.add_argument(f"--{kind}s", dest="kinds", action="append_const", const=kind,
                         help=f"{text} (default: networks and operators)")
    one.add_argument("--harness", dest="kinds", action="append_const", const="harness",
                     help="a whole training, image by image, against a PyTorch loop (needs PyTorch)")
    one.add_argument("--rounds", type=int, default=9, help="each times both sides twice (default: 9)")
    one.add_argument("--batch", type=int, help="instead of each row's own")
    one.add_argument("--compile", choices=("graph", "xla"), help="default: as training does, on JAX xla")
    one.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where the record goes")
    one.add_argument("--keep", action="store_true", help="copy the record to reports/records as evidence")

    one = verb("data", data, "the data sets: list, prepare or verify")
    one.set_defaults(action="list", names=[], origin=None)
    actions = one.add_subparsers(metavar="ACTION", parser_class=Parser)
    for action, text in (("list", "what there is, and where (default)"),
                         ("prepare", "download if need be, check and write arrays"),
                         ("verify", "compare every byte with its manifest")):
        two = actions.add_parser(action, help=text, description=text)
        two.set_defaults(action=action)
        two.add_argument("names", nargs="*", metavar="NAME")
        if action == "prepare":
            two.add_argument("--force", action="store_true", help="prepare anew")
            two.add_argument("--from", type=Path, dest="origin", metavar="PATH",
                             help="prepare from this file or folder (tiny_imagenet, imagewoof, cora)")

    one = verb("report", report, "one self-contained HTML page of records and cards")
    one.add_argument("folders", type=Path, nargs="*", help="folders of records (default: reports/records)")
    one.add_argument("--output", type=Path,
                     help="the HTML file (default: report.html in the first folder, or reports/html/index.html)")
    one.add_argument("--readme", type=Path, help="also renew the results table between the marks in this file")

    one = verb("demo", demo, "two small trainings, the gradient check and their report, in minutes and offline")
    one.add_argument("--folder", type=Path, default=Path("runs") / "demo")
    return top


# ----------------------------------------------------------------------------------------------------- verbs

def list_networks(options):
    from .show import listing, recipe_lines, short_listing
    if options.recipe:
        if not options.network:
            raise UsageError("--recipe NAME is a network's: list NETWORK --recipe NAME")
        print("\n".join(recipe_lines(card_of(options.network), options.network, options.recipe)))
        return
    wanted, network = cards(), None
    if options.network:
        wanted = [card for card in cards() if card.name == options.network]
        if not wanted:
            wanted, network = [card_of(options.network)], options.network
    for card in wanted:
        print("\n".join(listing(card, network) if options.network else short_listing(card)))
    if not options.network:
        print(f"{sum(len(card.architectures) for card in wanted)} networks of {len(wanted)} papers, with parameters, "
              "multiply-adds and published errors; list NAME, of a network or card, has every number and its place")


def show(options):
    card = card_of(options.network)
    if options.keep and (options.classes or options.input_shape):
        raise UsageError("--keep is for the paper's network: leave --classes and --input-shape out")
    shape = None
    if options.input_shape:
        try:
            shape = tuple(int(n) for n in options.input_shape.split(","))
        except ValueError:
            raise UsageError(f"--input-shape {options.input_shape} is not H,W,C") from None
    start_backend()
    import keras
    from . import show as text
    from ..architectures import build, describe, draw, find, names, weightless
    network, papers = find(options.network), not (options.classes or shape)
    with weightless():
        model = build(options.network, classes=options.classes, input_shape=shape, classifier_activation=None)
        anatomy = describe(model)
    inputs = ", ".join(f"{tensor.name} {text.size(tensor.shape[1:])}".strip() for tensor in model.inputs[1:])
    print(f"{options.network}: {card.title} ({card.year}); input {text.size(anatomy['input_shape'])}"
          + (f", {inputs}" if inputs else ""))
    if network.differs:
        print(text.differs_line(options.network, network.differs, names()))
    if not options.stages:
        print("\n".join(text.layer_lines(anatomy)) + "\n")
    of = lambda rows: [row for row in rows if papers and row.architecture == options.network]      # noqa: E731
    print("\n".join([*text.stage_lines(anatomy, of(card.tables)), "", *text.total_lines(anatomy, of(card.results)),
                     text.memory_line(anatomy)]))
    if not papers:
        print(f"the paper's figures are of {text.size(network.input_shape)} and {network.classes} classes: not set beside")
    if options.plot is not None:
        file = Path(options.plot or f"{options.network}.svg")
        if file.suffix != ".svg":
            raise UsageError(f"--plot {file}: it is drawn as SVG, so name a file ending in .svg")
        counts = f"{anatomy['parameters']:,} parameters · {anatomy['multiply_adds']:,} multiply-adds"
        file.write_text(draw(model, network.title, f"{options.network} · {card.title} ({card.year}) · {counts}"),
                        encoding="utf-8")
        print(f"drawn: {file}")
    if options.keep:
        record = {"schema": records.SCHEMA, "kind": "network", "id": f"network-{options.network}",
                  "status": "finished", "started": records.now(), "ended": records.now(), **records.provenance(),
                  "backend": keras.backend.backend(), "paper": card.name, "architecture": options.network,
                  "model": {**anatomy, "layers": []} if options.stages else anatomy}
        keep(record)


def train(options):
    card = card_of(options.network)
    published = [result.dataset for result in card.results if result.architecture == options.network]
    dataset = options.dataset or next((name for name in published if has(name)), published[0] if published else None)
    if dataset and not options.dataset and not has(dataset):
        raise UsageError(f"{options.network}'s paper used {dataset}, which the suite does not have: choose a data set "
                         "with --dataset NAME (python -m repro data list)")
    overrides = dict(assignment(text) for text in options.overrides)
    for key in ("precision", "compile"):
        short = getattr(options, key)
        if short and overrides.setdefault(key, short) != short:
            raise UsageError(f"--{key} {short} and --set {key}={overrides[key]}: give one of them")
    card.recipe(options.network, options.recipe, overrides)         # wrong names end here, before TensorFlow starts
    _known_dataset(dataset)
    _at_least_one(options, "replicas")
    if options.seeds is not None:
        return train_seeds(options, dataset, overrides)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"           # before TensorFlow looks
        os.environ["JAX_PLATFORMS"] = "cpu"
    if options.deterministic:                               # asked for before JAX starts
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    start_backend(options.engine, compute=options.replicas is None and "TF_CONFIG" not in os.environ)
    from .training import train as run_training
    record, run = run_training(
        options.network, dataset, options.recipe, options.seed or 0, overrides, options.layers, options.runs,
        options.quiet, run=options.run, force=options.force, deterministic=options.deterministic,
        tensorboard=options.tensorboard, device=options.device, replicas=options.replicas)
    if record["status"] == "interrupted":
        print(f"repro: interrupted: {record['reason']} ({run})", file=sys.stderr)
        return TERMINATED if record["reason"].startswith("SIGTERM") else INTERRUPTED
    if record["hardware"].get("process"):
        print(f"worker {record['hardware']['process']}: {record['status']}; the chief has the record")
        return int(record["status"] != "finished")
    if options.keep:
        keep(record)
    if record["status"] != "finished":
        raise Failure(f"{record['status']}: {record['reason']} (record in {run})")
    print(f"test error {record['result']['test_error']:.2f} % of {record['result']['test_images']:,} images, "
          f"{record['wall_seconds']:.0f} s; {run}")


def train_seeds(options, dataset, overrides):
    """The same training with several seeds: a suite of one line."""
    if options.run or options.force or options.tensorboard:
        raise UsageError("--run, --force and --tensorboard are for one seed: leave --seeds out")
    if options.seed is not None:
        raise UsageError(f"--seed {options.seed} and --seeds {options.seeds}: give one of the two")
    from .suite import table, trials
    from .suite.local import Local
    seeds = _wanted(trials.seeds, options.seeds)
    found = trials.Suite(f"{options.network}-seeds", f"{options.network} on {dataset}", "", (), tuple(
        trials.Trial(options.network, dataset, options.recipe, seed, options.layers, overrides) for seed in seeds))
    more = _common(options)
    with contextlib.nullcontext() if options.quiet else table.Follower(found, options.runs, 1) as follower:
        runner = Local(found, options.runs, more=more, show=follower)
        reason = runner.run()
    return _summary(found, options.runs, reason, runner.failed)


def _at_least_one(options, *keys) -> None:
    for key in keys:
        if (value := getattr(options, key)) is not None and value < 1:
            raise UsageError(f"--{key} {value}: expected 1 or more")


def _wanted(read, asked):
    """read(asked): a suite or seeds; what is wrong with them is a wrong command."""
    from .suite.trials import SuiteError
    try:
        return read(asked)
    except SuiteError as error:
        raise UsageError(str(error)) from None


def _common(options) -> list[str]:
    """Of a suite's options those that each of its trainings gets."""
    if "TF_CONFIG" in os.environ:
        raise UsageError("TF_CONFIG spreads one training over several machines, and here each trial is a process of its "
                         "own: unset it, or run train with one seed")
    more = [word for key in ("engine", "device", "replicas") if getattr(options, key, None)
            for word in (f"--{key}", str(getattr(options, key)))]
    return more + [f"--{key}" for key in ("deterministic", "keep") if getattr(options, key)]


def suite(options):
    from .suite import slurm, table, trials
    from .suite.local import Local, in_folder
    if options.suite is None:
        for name in trials.suites():
            found = trials.load(name)
            print(f"{name}: {found.title}; {len(found.trials)} trials")
        return None
    found = _wanted(trials.load, options.suite)
    _at_least_one(options, "jobs", "replicas")
    for key, others in (("slurm", ("jobs", "budget", "status", "ray", "trial")),
                        ("trial", ("jobs", "budget", "status", "ray"))):
        given = [f"--{other}" for other in others if getattr(options, other) is not None]
        if getattr(options, key) is not None and given:
            raise UsageError(f"--{key} takes no {' and no '.join(given)}: " + (
                "how many run at a time and how long is Slurm's, sbatch --array=0-9%4 --time=…" if key == "slurm" else
                "it is one trial in this process"))
    more, jobs = _common(options), options.jobs or 1
    if options.slurm:
        asked = str(Path(options.suite).resolve()) if options.suite.endswith(".toml") else options.suite
        slurm.write(options.slurm, found, asked, options.runs.resolve(), more)
        print(f"{options.slurm}: {len(found.trials)} tasks; sbatch {options.slurm}")
        if found.first:
            words = (["python", "-m", "repro", *in_folder(one, options.runs)] for one in found.first)
            print(f"not in it, to be run once by hand: {'; '.join(map(shlex.join, words))}")
        return None
    if options.trial is not None:
        if not 0 <= options.trial < len(found.trials):
            raise UsageError(f"--trial {options.trial}: {found.name} has the trials 0 to {len(found.trials) - 1}")
        return main([*found.trials[options.trial].arguments(options.runs), *more])
    if options.status:
        for name, state in table.rows(found, options.runs):
            steps = "" if state.steps is None else f"  step {state.step} of {state.steps}"
            print(f"{name:50s} {state.status}{steps}")
        return _summary(found, options.runs)
    if options.engine:
        os.environ["KERAS_BACKEND"] = options.engine            # of check and bench too
    with table.Follower(found, options.runs, jobs) as follower:
        budget = None if options.budget is None else 60 * options.budget
        if options.ray:
            from .suite.cluster import Cluster
            runner = Cluster(found, options.runs, options.ray, jobs, budget, more, follower)
        else:
            runner = Local(found, options.runs, jobs, budget, more, follower)
        reason = runner.run()
    return _summary(found, options.runs, reason, runner.failed)


def plan(options):
    from .plan import estimate, table
    from .plan.probe import ProbeError, probe
    from .suite import trials
    found = _wanted(trials.load, options.suite)
    prices = {}
    for text in options.price:
        key, _, price = text.partition("=")
        try:
            prices[key] = float(price)
        except ValueError:
            raise UsageError(f"--price {text}: expected GPU=PRICE, e.g. a100=2.5") from None
        if key not in estimate.devices():
            raise UsageError(f"--price {text}: no figures for {key!r}; there are {', '.join(estimate.devices())}")
    _at_least_one(options, "jobs")
    environment = os.environ | ({"KERAS_BACKEND": options.engine} if options.engine else {})
    probes, failed = {}, {}
    for key, like in estimate.kinds(found).items():
        print(f"probing {key[0]} on {key[1]} …", file=sys.stderr, flush=True)
        try:
            probes[key] = probe(like[0], environment)
        except ProbeError as error:
            failed[key] = str(error)
    print("\n".join(table.lines(found, probes, failed, options.jobs, prices, options.precision)))
    if failed:
        raise Failure(f"{len(failed)} of {len(probes) + len(failed)} could not be probed")


def _summary(found, runs: Path, reason="done", failed=None) -> int | None:
    """Print how a suite stands; returns the exit code. Raises Failure for what failed."""
    from .suite import table
    states = [state for _, state in table.rows(found, runs)]
    done = sum(state.ended for state in states)
    print("\n".join(table.results(found, runs)))
    print(f"{done} of {len(states)} trials ended" + ("" if done == len(states) else "; the same command goes on"))
    if reason in ("SIGINT", "SIGTERM"):
        return INTERRUPTED if reason == "SIGINT" else TERMINATED
    if failed:
        raise Failure("; ".join(f"{name}: {said}" for name, said in failed.items()))
    return None


def evaluate(options):
    if options.weights:
        return evaluate_weights(options)
    if options.images is not None or options.resize is not None or options.scales or options.origin or options.keep:
        raise UsageError("--images, --resize, --scales, --origin and --keep are for a network with --weights FILE")
    model_path, record = _model_of(options.model)
    dataset = options.dataset or (record and record["dataset"]["name"])
    if not dataset:
        raise UsageError(f"{options.model} has no record beside it: name the data set with --dataset")
    _known_dataset(dataset)
    start_backend()
    import numpy as np
    from . import data as datasets
    from .training import export
    loaded = datasets.load(dataset)
    if loaded.kind != "images":
        raise UsageError(f"evaluate classifies images, and {dataset} has {loaded.kind}; the run's record has its error")
    model = export.load(model_path)
    images, labels = loaded.open_test()
    scores = (model.predict(np.asarray(images, "float32"), batch_size=500, verbose=0)
              if isinstance(images, np.ndarray) else export.scores_of(model, images))
    if scores.shape[1] <= labels.max():
        raise Failure(f"{model_path} knows {scores.shape[1]} classes, {dataset} has {labels.max() + 1}")
    error = 100 * float((scores.argmax(axis=1) != labels).mean())
    print(f"test error {error:.2f} % of {len(labels):,} images of {dataset}")
    if record and dataset == record["dataset"]["name"] and record["result"]:
        views = record["recipe"]["resolved"].get("test", {}).get("views", "one")
        print(f"the run's record says {record['result']['test_error']:.2f} %"
              + (f", of {views} views an image" if views != "one" else ""))


PROJECTS = {".h5": "keras", ".hdf5": "keras",
            ".safetensors": "torchvision", ".pth": "torchvision", ".pt": "torchvision"}


def evaluate_weights(options):
    """A network with another project's weights on classes of ImageNet; leaves a record."""
    import dataclasses
    import hashlib
    import time
    from rich.console import Console
    from rich.progress import Progress
    from . import data as datasets
    name, file, dataset = str(options.model), options.weights, options.dataset
    card = card_of(name)
    if options.keep and (options.images is not None or not options.origin):
        raise UsageError("--keep is for all images and weights of a known origin: leave --images out, and say with "
                         "--origin where the file is from")
    if not dataset:
        raise UsageError("--weights needs --dataset imagenette or imagenet")
    _known_dataset(dataset)
    found = datasets.source(dataset)
    if not found.streamed:
        raise UsageError(f"weights of ImageNet's classes are evaluated on imagenette or imagenet, not on {dataset}")
    if options.images is not None and options.images < 1:
        raise UsageError("--images is a positive number")
    if options.scales and options.resize is not None:
        raise UsageError("--resize is for the middle of an image, --scales looks at all of it: leave one of them out")
    if file.suffix not in PROJECTS:
        raise UsageError(f"--weights {file}: expected a file ending in {', '.join(PROJECTS)}")
    if not file.is_file():
        raise Failure(f"{file}: no such file of weights")
    place = found.place_name()
    start_backend()
    import keras
    from ..architectures import build, image_input, load_keras_applications, load_torchvision, over_whole_images
    from .accuracy import accuracy
    project = PROJECTS[file.suffix]
    inputs = image_input(name, project)
    if options.resize is not None:
        if options.resize < inputs.side:
            raise UsageError(f"--resize {options.resize} is below the input of {inputs.side} pixels")
        inputs = dataclasses.replace(inputs, resize=options.resize)
    for scale in options.scales:
        if scale < inputs.side:
            raise UsageError(f"--scales {scale} is below the input of {inputs.side} pixels")
    model = build(name, input_shape=(inputs.side, inputs.side, 3), classifier_activation=None)
    {"keras": load_keras_applications, "torchvision": load_torchvision}[project](model, file)
    if options.scales:
        model = over_whole_images(model)
    count = min(options.images or found.splits["test"], found.splits["test"])
    seen = (f"whole, with the shorter side at {', '.join(map(str, options.scales))}, and their mirror images"
            if options.scales else f"shorter side {inputs.resize}, middle {inputs.side}×{inputs.side}")
    print(f"{name} with {project} weights of {file} on {count:,} images of {place}: {seen}, scaled as {inputs.mode!r}",
          flush=True)
    begun, started = time.monotonic(), records.now()
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=count)
        measured = accuracy(model, found.records(options.images), inputs, found.imagenet,
                            progress=lambda images: bar.advance(task, images), scales=options.scales)
    spent = time.monotonic() - begun
    print(f"top-1 {measured.top1:.2f} %, top-5 {measured.top5:.2f} % of {measured.images:,} images, "
          f"{measured.images / spent:.0f} images/s"
          + (f"; one of its {measured.classes} classes" if measured.classes < 1000 else ""))
    if measured.classes < 1000:
        print(f"top-1 {measured.top1_of_all:.2f} %, top-5 {measured.top5_of_all:.2f} % among all 1,000 classes"
              + (f"; {found.remark}" if found.remark else ""))
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    record = {
        "schema": records.SCHEMA, "kind": "evaluation", "id": records.new_id("evaluation", name, found.tfds_name),
        "status": "finished", "started": started, "ended": records.now(), "wall_seconds": round(spent, 1),
        **records.provenance(), "backend": keras.backend.backend(), "paper": card.name, "architecture": name,
        "weights": {"file": file.name, "sha256": digest, "project": project, "origin": options.origin or ""},
        "dataset": {"name": found.name, "read": place, "version": found.version_read(), "images": measured.images,
                    "of": found.splits["test"], "classes": measured.classes, "remark": found.remark},
        "views": seen, "scales": options.scales, "scale": inputs.mode,
        "result": {"top1_error": 100 - measured.top1, "top5_error": 100 - measured.top5,
                   "top1_error_of_all": 100 - measured.top1_of_all, "top5_error_of_all": 100 - measured.top5_of_all}}
    print(records.write_record(options.runs / record["id"] / "record.json", record))
    if options.keep:
        keep(record)


def predict(options):
    model_path, _ = _model_of(options.model)
    for path in options.images:                     # before TensorFlow starts
        if not path.is_file():
            raise Failure(f"{path}: no such image file")
    start_backend()
    import numpy as np
    from .training import export
    model = export.load(model_path)
    names = getattr(model.layers[-1], "class_names", None)
    for path in options.images:
        image = export.read_image(path, model.input_shape[-1])
        scores = model.predict(255 - image if options.invert else image, verbose=0)[0]
        best = np.argsort(-scores, kind="stable")[:max(options.top, 1)]
        print(f"{path}: " + ", ".join(f"{names[k] if names else k} {scores[k]:.3f}" for k in best))


def check(options):
    if options.keep and options.operators:
        raise UsageError("--keep is for whole checks: leave the operators out")
    start_backend()
    import keras
    import time
    from .check import check as examine, summary
    if keras.backend.backend() not in ("tensorflow", "jax", "torch"):
        raise Failure(f"check differentiates with TensorFlow, JAX or PyTorch; KERAS_BACKEND is "
                      f"{keras.backend.backend()}")
    begun, started = time.monotonic(), records.now()
    try:
        rows = examine(options.operators)
    except LookupError as error:
        raise UsageError(str(error.args[0])) from None
    record = {
        "schema": records.SCHEMA, "kind": "gradients", "id": records.new_id("gradients", keras.backend.backend()),
        "status": "finished" if all(row["passed"] for row in rows) else "failed", "started": started,
        "ended": records.now(), "wall_seconds": round(time.monotonic() - begun, 1), **records.provenance(),
        "backend": keras.backend.backend(), "rows": rows, "passed": all(row["passed"] for row in rows)}
    print(summary(rows))
    path = records.write_record(options.runs / record["id"] / "record.json", record)
    if options.keep:
        keep(record)
    print(f"{sum(row['passed'] for row in rows)} of {len(rows)} comparisons within their thresholds; {path}")
    return 0 if record["passed"] else 1


def bench(options):
    if options.rounds < 1 or (options.batch is not None and options.batch < 1):
        raise UsageError("--rounds and --batch are positive numbers")
    if options.keep and options.names:
        raise UsageError("--keep is for whole tables: leave the names out")
    from .bench import names
    try:
        names.check(options.names)
    except LookupError as error:
        raise UsageError(str(error.args[0])) from None
    start_backend()
    import keras
    import time
    from .bench import backends, measure, memory
    backend = keras.backend.backend()
    form = options.compile or next(iter(backends.forms()), None)
    if form not in backends.forms():
        raise Failure(f"bench compiles with TensorFlow (graph, xla) and JAX (xla), not with {backend}"
                      + (f" ({form})" if form else ""))
    begun, started, rows = time.monotonic(), records.now(), []
    print(measure.HEAD)
    for row in measure.bench(options.names, options.kinds or measure.KINDS[:2], options.rounds, options.batch, form):
        if "form" in row and row["name"] not in (one["name"] for one in rows[-1:]):
            print(row["name"])
        rows.append(row)
        print(measure.line(row), flush=True)
    if not rows:
        raise Failure(f"nothing to time: {', '.join(options.names)} has no such rows, or no backward pass of ours")
    refused = [row["name"] for row in rows if "refused" in row]
    record = {
        "schema": records.SCHEMA, "kind": "bench", "id": records.new_id("bench", backend, form),
        "status": "failed" if refused else "finished", "reason": ", ".join(refused), "started": started,
        "ended": records.now(), "wall_seconds": round(time.monotonic() - begun, 1), **records.provenance(),
        "backend": backend, "compile": form, "goals": measure.GOALS, "memory_method": memory.METHOD,
        "geometric_mean": measure.geometric_mean(rows), "rows": rows}
    record["hardware"]["accelerators"] = backends.accelerators()
    print(measure.summary(rows) or "no network was timed")
    path = records.write_record(options.runs / record["id"] / "record.json", record)
    if options.keep:
        keep(record)
    print(f"{len(rows) - len(refused)} of {len(rows)} rows timed; {path}")
    return 1 if refused else 0


def data(options):
    from . import data as datasets
    for name in options.names:
        _known_dataset(name)
    if options.origin and len(options.names) != 1:
        raise UsageError("--from PATH is for one NAME")
    if options.action == "list":
        for name in options.names or datasets.names():
            row = datasets.status_of(datasets.source(name))
            print(f"{row['name']:10s} {row['title']} (version {row['version']}): {row['state']}"
                  + (f", {row['identity']}" if row["identity"] else ""))
            counts = [f"{part} {count:,}" for part, count in row["splits"].items()] + [f"{row['classes']:,} classes"]
            size = f", {row['bytes'] / 1e6:,.1f} MB" if row["bytes"] else ""
            print(f"{'':10s} {', '.join(counts)}{size}; {row['folder']}\n{'':10s} {row['citation']}")
        return 0
    chosen = options.names
    if not chosen and options.action == "verify":
        chosen = [row["name"] for row in datasets.status() if row["state"] in ("prepared", "damaged")]
        if not chosen:
            print("nothing is prepared yet")
    elif not chosen:
        raise UsageError(f"data {options.action} needs a name: {', '.join(datasets.names())}")
    for name in chosen:
        found = (datasets.prepare(name, download=True, force=options.force, origin=options.origin)
                 if options.action == "prepare" else datasets.verify(name, whole=True))
        print(f"{name} {found.version}: sha256 {found.sha256[:16]}…, {found.identity}; {found.folder}")


def report(options):
    from .. import reports
    folders = options.folders or [RECORDS]
    for folder in folders:
        if not folder.is_dir():
            raise Failure(f"{folder}: no such folder of records; `python -m repro train …` writes one under runs/")
    output = options.output or (options.folders[0] / "report.html" if options.folders else PAGE)
    summary = reports.build(folders, output)
    if options.readme:
        reports.renew_readme(options.readme, folders)
    print(f"{summary.headline}; {summary.runs} runs, {summary.size / 1e6:.1f} MB"
          + (f", {summary.broken} files that are no records" if summary.broken else ""))
    print(output)


def demo(options):
    """Everything that `make demo` promises; the last line is the report's path."""
    start_backend()
    from .training import train as run_training
    for network in ("lenet5", "resnet20_cifar"):
        record, _ = run_training(network, "digits", "smoke", 0, folder=options.folder)
        if record["status"] != "finished":
            raise Failure(f"{network} {record['status']}: {record['reason']}")
        print(f"{network}: test error {record['result']['test_error']:.2f} %", flush=True)
    options.operators, options.runs, options.keep = [], options.folder, False
    failed = check(options)
    from .. import reports
    reports.build([options.folder], options.folder / "report.html")
    print((options.folder / "report.html").resolve())
    return failed


# --------------------------------------------------------------------------------------------------- details

def assignment(text: str):
    """KEY=VALUE with the value as in TOML; a bare word is a text."""
    key, found, value = text.partition("=")
    if not found or not key:
        raise UsageError(f"--set {text}: expected KEY=VALUE, e.g. optimizer.momentum=0.8")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def keep(record: dict) -> None:
    """Put a record beside the committed evidence of this checkout."""
    if not (ROOT / "pyproject.toml").is_file():
        raise Failure("--keep adds to the evidence of a checkout, and cnn_repro is installed as a package here; "
                      "the record is in its run directory")
    print(f"kept {records.write_record(RECORDS / (record['id'] + '.json'), record)}")


def _model_of(path: Path):
    """(model file, record or None) of a run directory or a .keras file."""
    model = path / "model.keras" if path.is_dir() else path
    if not model.is_file():
        raise Failure(f"{model}: no such model; `python -m repro train …` leaves one in its run directory")
    beside = model.with_name("record.json")
    record = records.read_record(beside) if beside.is_file() else None
    return model, record if record and record["kind"] == "training" else None


def has(dataset: str) -> bool:
    """Whether the suite knows the data set."""
    from .data import DataError, source
    try:
        return bool(source(dataset))
    except DataError:
        return False


def _known_dataset(name):
    from .data import DataError, source
    try:
        source(name)
    except DataError as error:
        raise UsageError(str(error)) from None


def start_backend(backend: str | None = None, compute: bool = True) -> None:
    """Import Keras and its backend without the backend's greetings; what it says while failing is shown.

    compute: not where devices are still to be divided or joined, which TensorFlow wants before its first operation.
    """
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    with tempfile.TemporaryFile() as said, contextlib.ExitStack() as undo:
        sys.stderr.flush()
        stderr = os.dup(2)
        undo.callback(os.close, stderr)
        os.dup2(said.fileno(), 2)
        try:
            import keras
            if backend and keras.backend.backend() != backend:      # a program that calls main() has imported it
                raise Failure(f"Keras runs on {keras.backend.backend()} in this process already: "
                              f"KERAS_BACKEND={backend} before it starts, instead of --engine {backend}")
            keras.config.set_image_data_format("channels_last")     # the data's, whatever ~/.keras/keras.json says
            if keras.backend.backend() == "tensorflow":
                import tensorflow as tf
                tf.get_logger().setLevel("ERROR")
                if compute:
                    tf.zeros(1)             # the first operation greets as well
        except ImportError as error:
            os.dup2(stderr, 2)
            raise Failure(f"the backend does not start ({one_line(error)}); KERAS_BACKEND is "
                          f"{os.environ.get('KERAS_BACKEND', 'not set')}, cnn_repro's is tensorflow: "
                          "unset it, or pip install what is missing") from None
        except Failure:
            os.dup2(stderr, 2)
            raise
        except BaseException:
            os.dup2(stderr, 2)
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise
        os.dup2(stderr, 2)
