"""The next batches are made while a step runs: a bounded thread ahead of the consumer, in the same order."""
import queue
import threading
from collections.abc import Iterable, Iterator

END = object()


def prefetched(items: Iterable, ahead: int = 2) -> Iterator:
    """The items of `items`, in order, up to `ahead` of them made before they are asked for.

    An exception of `items` is raised where its item would have come. When the consumer stops early (it closes
    this generator, fails, or is interrupted) the thread stops at its next item and is waited for, so `items` is
    no longer running afterwards. With `with contextlib.closing(prefetched(...)) as batches:` that is at once,
    without waiting for the garbage collector. A daemon thread: a killed process does not wait for it.
    """
    ready, stop = queue.Queue(maxsize=ahead), threading.Event()

    def hand_over(item) -> bool:
        while not stop.is_set():            # a full queue whose consumer has gone must not hold the thread
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def fill():
        try:
            for item in items:
                if not hand_over((item, None)):
                    return
            hand_over((END, None))
        except BaseException as error:      # to the consumer, whatever it is
            hand_over((END, error))
        finally:
            if hasattr(items, "close"):     # a generator's own `finally` runs in the thread that ran it
                items.close()

    thread = threading.Thread(target=fill, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is END:
                return
            yield item
    finally:
        stop.set()
        thread.join()
