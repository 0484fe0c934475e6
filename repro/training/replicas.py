"""Several devices and several machines, on TensorFlow: who takes part in a training, and what passes between them.

R replicas hold the same weights. Of every batch of B images replica r takes the rows from ⌊rB/R⌋ to ⌊(r+1)B/R⌋, and the
update rule sees the sum of all gradients of

    L = Σ_r Σ_{i of r} l_i / B

so that a step is one device's up to the order of sums. Two things are not: batch normalisation normalises the rows of
each replica by their own moments, and dropout draws each replica other masks (tensorflow_engine.py).

The processes of several machines do the same work in the same order, the evaluation too; each reads the data, and of a
batch only its own rows. One of them, the chief, has the run directory and sends the others the state that they begin
with. Who they are is said by TF_CONFIG (tf_config.py).
"""
import numpy as np
import tensorflow as tf

from .run_directory import RunError
from .tf_config import cluster


class WorkerLost(RunError):
    """Another process of the same training went away."""


def strategy_of(device: str | None, replicas: int | None) -> tf.distribute.Strategy:
    """TensorFlow's strategy: for the workers of TF_CONFIG, for several devices of this machine, or the plain one.

    device: "cpu", "gpu" or whatever there is. replicas: how many of this machine's devices; by default all its GPUs. A
    processor is divided into so many parts, which makes nothing faster and shows what several GPUs would compute.
    Raises RunError.
    """
    workers = cluster()
    if workers:
        if replicas is not None:
            raise RunError("TF_CONFIG says how many take part: leave --replicas out")
        return _joined(workers)
    found = [] if device == "cpu" else tf.config.get_visible_devices("GPU")
    count = replicas or max(len(found), 1)
    if found and count > len(found):
        raise RunError(f"--replicas {count}: TensorFlow sees {len(found)} GPU{'s' * (len(found) > 1)} here; ask for as "
                       "many or fewer, or divide the processor with --device cpu")
    if count == 1:
        return tf.distribute.get_strategy()
    if not found:
        _divide_processor(count)
    return tf.distribute.MirroredStrategy([f"{'GPU' if found else 'CPU'}:{index}" for index in range(count)])


_strategy_of_cluster = None             # one a process: it owns the server that the others talk to


def _joined(workers: list[str]) -> tf.distribute.Strategy:
    global _strategy_of_cluster
    if _strategy_of_cluster is None:
        print(f"waiting for the {len(workers)} workers {', '.join(workers)}", flush=True)
        try:
            _strategy_of_cluster = tf.distribute.MultiWorkerMirroredStrategy()
        except (RuntimeError, ValueError, tf.errors.OpError) as error:
            raise RunError(f"cannot take part in the training of {', '.join(workers)} "
                           f"({' '.join(str(error).split())[:200]})") from None
    return _strategy_of_cluster


def _divide_processor(count: int) -> None:
    processor = tf.config.list_physical_devices("CPU")[0]
    divided = tf.config.get_logical_device_configuration(processor)
    if len(divided or [None]) != count:
        try:
            tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError:
            raise RunError(f"this process has begun to compute already: --replicas {count} is for a process of its "
                           "own") from None


class Replicas:
    """The replicas of a strategy: `count` in all, of which this process has `here`, the first of them number `first`."""

    def __init__(self, strategy: tf.distribute.Strategy):
        self.strategy, self.count = strategy, strategy.num_replicas_in_sync
        self.here = len(strategy.extended.worker_devices) if self.count > 1 else 1
        self.processes = self.count // self.here
        resolver = strategy.cluster_resolver
        self.process = _process(resolver) if self.processes > 1 else 0
        self.first = self.process * self.here

    # ------------------------------------------------------------------------------------------- rows of a batch
    def rows(self, size: int, replica: int) -> slice:
        """Of a batch of that size those that a replica takes."""
        return slice(size * replica // self.count, size * (replica + 1) // self.count)

    def own_rows(self, size: int) -> slice:
        """Of a batch of that size those that this process reads."""
        return slice(self.rows(size, self.first).start, self.rows(size, self.first + self.here - 1).stop)

    def spread(self, values: np.ndarray, size: int, axis: int = 1):
        """Each replica's rows of `values`, whose `axis` holds all rows of a batch of that size, or this process's own."""
        if self.count == 1:
            return tf.constant(values)
        skipped = 0 if values.shape[axis] == size else self.own_rows(size).start

        def part(context):
            rows = self.rows(size, context.replica_id_in_sync_group)
            at = slice(rows.start - skipped, rows.stop - skipped)
            return tf.constant(values[(slice(None),) * axis + (at,)])

        return self.strategy.experimental_distribute_values_from_function(part)

    def total(self, values):
        """Within a replica's step: the sum over all replicas, of one tensor or of each in a list."""
        if self.count == 1:
            return values
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)

    # -------------------------------------------------------------------------------------- between the processes
    def from_chief(self, content: bytes | None) -> bytes:
        """The chief's content, for all processes; what the others give does not count."""
        if self.processes == 1:
            return content
        content = content if self.process == 0 else b""
        size = int(self._from_chief(np.array([len(content)]))[0])
        if size == 0:                           # TensorFlow 2.21 dies of the sum of empty arrays
            return b""
        words = np.zeros(-(-size // 8), "int64")
        if self.process == 0:
            words.view("uint8")[:size] = np.frombuffer(content, "uint8")
        return self._from_chief(words).tobytes()[:size]

    def any(self, flag: bool) -> bool:
        """Whether a process says yes. All of them must ask."""
        if self.processes == 1:
            return flag
        return bool(self._sum(lambda replica: np.array([int(flag and replica == self.first)]))[0])

    def _from_chief(self, words: np.ndarray) -> np.ndarray:
        """int64 (n,): a sum with zeros leaves every bit as it is."""
        return self._sum(lambda replica: words if replica == 0 else np.zeros_like(words))

    def _sum(self, of_replica) -> np.ndarray:
        each = self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(of_replica(context.replica_id_in_sync_group)))

        def placed(values):                     # an argument of a graph lies nowhere yet, which it must
            return self.total(tf.identity(values))

        try:
            summed = tf.function(lambda values: self.strategy.run(placed, (values,)))(each)
            return self.strategy.experimental_local_results(summed)[0].numpy()
        except tf.errors.OpError as error:
            if not lost(error):
                raise
            raise WorkerLost("another worker of this training is gone; start all of them with the same command to go "
                             "on") from None


def lost(error: BaseException) -> bool:
    """Whether a worker went away: what others were to send did not come."""
    return isinstance(error, (WorkerLost, tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
                              tf.errors.DeadlineExceededError)) or (
        isinstance(error, tf.errors.OpError) and "Collective ops is aborted" in str(error))


def _process(resolver) -> int:
    """This process's number; the chief's is 0."""
    chiefs = len(resolver.cluster_spec().as_dict().get("chief", []))
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
