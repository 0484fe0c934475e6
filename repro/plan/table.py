"""The lines that `plan` prints."""
from ..suite.table import duration
from ..suite.trials import Suite
from .estimate import devices, kinds, seconds_here, seconds_on, step_on, work_of

COUNTS = (1, 8, 64)


def lines(suite: Suite, probes: dict, failed: dict, jobs: int, prices: dict, precision: str) -> list[str]:
    """probes: Probe of each of `kinds(suite)` that was measured; failed: why another was not. prices: of an hour of a
    device, in whatever currency, by its key."""
    found, totals, text = kinds(suite), {}, [f"{suite.title}: {len(suite.trials)} trials"]
    text.append(f"\n{'network':26s} {'data set':12s} {'recipe':7s} {'trials':>6s} {'steps':>9s} {'ms a step':>10s} "
                f"{'memory':>9s} {'each':>11s} {'all':>11s}")
    for key, trials in found.items():
        work, (network, dataset, recipe, *_) = work_of(trials[0]), key
        start = f"{network:26s} {dataset:12s} {recipe:7s} {len(trials):6d} {work.steps:9,d} "
        if key not in probes:
            text.append(f"{start} {failed[key]}")
            continue
        probe = probes[key]
        each = seconds_here(work, probe)
        totals["here"] = totals.get("here", 0.0) + each * len(trials)
        for device in devices().values():
            totals[device.key] = totals.get(device.key, 0.0) + len(trials) * seconds_on(device, work, probe, precision)
        text.append(f"{start}{1000 * probe.seconds_a_step:10.1f} {probe.memory / 2**20:5.0f} MiB {duration(each):>11s} "
                    f"{duration(each * len(trials)):>11s}"
                    + (f"  (probed with {probe.probed_batch} of {work.batch})" if probe.probed_batch < work.batch else ""))
    if not probes:
        return text
    text.append(f"\nthis machine: {duration(totals['here'])} one after the other"
                + (f"; with --jobs {jobs} not less than {duration(totals['here'] / jobs)}, where each has its own cores"
                   if jobs > 1 else ""))
    for device in devices().values():
        cost = f", {totals[device.key] / 3600 * prices[device.key]:.2f} at {prices[device.key]:g} an hour" \
            if device.key in prices else ""
        text.append(f"{device.name}, {precision}: at least {duration(totals[device.key])}{cost}")
    text += ["(at least: by ResNet-50's published images a second and the networks' multiply-adds; small networks fill less "
             "of a device)", *scaling(found, probes, precision)]
    sources = {source: None for device in devices().values() for source in (device.throughput_source, device.link_source)}
    return [*text, "", "sources:", *(f"  {source}" for source in sources)]


def scaling(found: dict, probes: dict, precision: str) -> list[str]:
    """How one batch spread over several devices would speed a step up."""
    text = [f"\none batch over several devices, {precision}: times as fast as one (ms a step)"]
    for key, trials in found.items():
        if key not in probes:
            continue
        work, probe = work_of(trials[0]), probes[key]
        for device in devices().values():
            steps = [step_on(device, count, work, probe, precision) for count in COUNTS]
            figures = (f"{count}: {steps[0] / seconds:.1f} ({1000 * seconds:.2f})" for count, seconds in zip(COUNTS, steps))
            text.append(f"  {key[0]:26s} batch {work.batch:<5d} gradient {probe.gradient / 1e6:7.1f} MB  {device.key}: "
                        + "   ".join(figures))
    return text
