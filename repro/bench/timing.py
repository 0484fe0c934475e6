"""Alternating measurement: what is compared runs in turn, round by round, so that a busy machine slows all alike."""
import statistics
from time import perf_counter

SAMPLE = 0.1            # seconds that one sample lasts at least, by as many calls as it needs
MOST_CALLS = 1000


def alternate(subjects, rounds: int, sample: float = SAMPLE) -> list[list[float]]:
    """Seconds a call of each subject (an object with `run(count)`), one figure a round.

    A round is A B B A, and the next one B A A B: each subject's figure is the mean of two samples around the same
    moment, so a machine that grows slower or faster evenly favours none, nor does being first.
    """
    calls = _calls(subjects, sample)
    found = [[] for _ in subjects]
    for turn in range(rounds):
        order = list(range(len(subjects)))[::-1 if turn % 2 else 1]
        spent = [0.0] * len(subjects)
        for index in order + order[::-1]:
            begun = perf_counter()
            subjects[index].run(calls)
            spent[index] += perf_counter() - begun
        for index, seconds in enumerate(spent):
            found[index].append(seconds / (2 * calls))
    return found


def _calls(subjects, sample) -> int:
    """The same number for all. A first call, which compiles, and a second one are not looked at."""
    slowest = 0.0
    for subject in subjects:
        subject.run(2)
        begun = perf_counter()
        subject.run(1)
        slowest = max(slowest, perf_counter() - begun)
    return min(MOST_CALLS, max(1, round(sample / max(slowest, 1e-9))))


def figures(ours: list[float], stock: list[float]) -> dict:
    """What a record says of two lists of seconds, round by round; a ratio of at least 1 means ours is not slower."""
    ours, stock = ([round(1000 * seconds, 6) for seconds in side] for side in (ours, stock))
    ratios = [theirs / mine for mine, theirs in zip(ours, stock, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {"rounds": len(ratios), "ours_ms": round(statistics.median(ours), 4),
            "stock_ms": round(statistics.median(stock), 4), "ratio": round(statistics.median(ratios), 4),
            "low": round(quartiles[0], 4), "high": round(quartiles[2], 4),
            "ours_rounds_ms": ours, "stock_rounds_ms": stock}
