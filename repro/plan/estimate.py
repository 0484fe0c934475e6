"""Time, memory and cost of a suite's trials, and what several devices would bring.

    steps          the schedule's, of ⌈training images / batch⌉ an epoch, of a graph one
    looks          at every view of a held-out image after each epoch, and of a test image at the end
    this machine   steps · probed seconds a step + start-up
    a named GPU    steps · batch · m / m_R / v        m: the network's multiply-adds an image; m_R: ResNet-50's, v: its
                                                      published images a second. A small network fills less of a device
                                                      than ResNet-50 does, so this is the least that it takes
    n devices      t(n) = t/n + 2 (n − 1)/n · g/b     one batch spread over them; g: bytes of the gradient, b: bytes a
                                                      second between neighbours, the network's for more than 8 devices.
                                                      A ring's two passes (Patarasuk and Yuan 2009, section 3), none of
                                                      it hidden behind the backward pass
"""
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .. import data as datasets
from ..data import views
from ..suite.trials import Suite, Trial, schedule_of

RESNET50 = 4.09e9               # multiply-adds of ResNet-50 v1.5 at 224×224, which the published throughputs are of
A_MACHINE = 8                   # devices behind one link
PASSES = 3                      # of the images an epoch in work: forward, and twice that backward


@dataclass(frozen=True)
class Device:
    key: str
    name: str
    memory: float
    batch: int
    images_per_second: dict
    eight: dict
    throughput_source: str
    link: float
    network: float
    link_source: str


@cache
def devices() -> dict[str, Device]:
    content = tomllib.loads((Path(__file__).parent / "devices.toml").read_text(encoding="utf-8"))
    return {key: Device(key, **values) for key, values in content.items()}


@dataclass(frozen=True)
class Work:
    """What a trial has to do. steps in all, images a step; the held-out images are looked at after every epoch, and a
    look is at all views of an image, counted in inputs of the network's size."""
    steps: int
    batch: int
    epochs: int
    validation: int
    test: int
    views: float = 1

    @property
    def looks(self) -> float:
        """Inputs that are only looked at."""
        return self.views * (self.epochs * self.validation + self.test)


def work_of(trial: Trial) -> Work:
    """Known from card and data set's description alone; nothing needs to be here."""
    resolved, source = trial.resolved().resolved, datasets.source(trial.dataset)
    if source.kind == "graph":              # every step and every look is at all nodes
        nodes = source.shape[0]
        schedule = schedule_of(resolved, trial.dataset, nodes)
        return Work(schedule.steps, nodes, schedule.epochs, nodes if resolved["validation"] else 0, nodes)
    held_out = resolved["validation"]
    held_out = held_out if held_out >= 1 else round(held_out * source.splits["train"])
    train = source.splits["train"] - int(held_out)
    schedule, test = schedule_of(resolved, trial.dataset, train), resolved.get("test", {})
    return Work(schedule.steps, min(resolved["batch"], train), schedule.epochs, int(held_out), source.splits["test"],
                views.worth(test.get("views", "one"), test.get("scales", ()), resolved.get("input", {}).get("size")))


@dataclass(frozen=True)
class Probe:
    """What a probe measured. seconds_a_step is of the whole batch; memory in bytes; gradient: bytes of all gradients."""
    seconds_a_step: float
    start_up: float
    memory: float
    multiply_adds: float
    gradient: float
    probed_batch: int


def seconds_here(work: Work, probe: Probe) -> float:
    """Looking at an image takes a third of training on it."""
    looks = work.looks * probe.seconds_a_step / work.batch / PASSES
    return probe.start_up + work.steps * probe.seconds_a_step + looks


def seconds_on(device: Device, work: Work, probe: Probe, precision: str = "float32") -> float:
    """The least that a trial takes on one such device."""
    images = work.steps * work.batch + work.looks / PASSES
    return images * probe.multiply_adds / RESNET50 / device.images_per_second[precision]


def step_on(device: Device, count: int, work: Work, probe: Probe, precision: str = "float32") -> float:
    """Seconds a step with the batch spread over `count` such devices."""
    alone = work.batch * probe.multiply_adds / RESNET50 / device.images_per_second[precision]
    speed = device.link if count <= A_MACHINE else device.network
    return alone / count + 2 * (count - 1) / count * probe.gradient / speed


def kinds(suite: Suite) -> dict[tuple, list[Trial]]:
    """The trials by what makes them equally long: all but the seed."""
    found = {}
    for trial in suite.trials:
        key = (trial.network, trial.dataset, trial.recipe, trial.layers, repr(trial.overrides))
        found.setdefault(key, []).append(trial)
    return found
