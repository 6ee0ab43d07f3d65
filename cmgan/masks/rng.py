"""Counter-based randomness: what is random about sample i of epoch e depends on (seed, e, i) and nothing else.

So neither the number of workers, nor the order they work in, nor a resume changes a sample.
"""

from __future__ import annotations

import numpy as np

from cmgan.errors import UsageError

# Numbers, not names, enter the key: they may be added to and never changed, or old runs could not be resumed.
STREAMS = {"mask": 0, "augment": 1, "noise": 2, "order": 3}


def sample_rng(seed: int, epoch: int, index: int, stream: str) -> np.random.Generator:
    """The random numbers that sample `index` of `epoch` uses for one purpose, a key of `STREAMS`.

    Philox 4x64-10 (Salmon et al. 2011) with key (seed, stream) and counter (0, 0, epoch, index): two generators of
    different arguments come to the same number only after 2**128 blocks. `seed`, `epoch` and `index` are from 0 to
    2**64 - 1; others raise `UsageError`, as an unknown stream does.
    """
    if stream not in STREAMS:
        raise UsageError("stream", f"{stream!r} is no random stream; the streams are {', '.join(STREAMS)}")
    for name, value in (("seed", seed), ("epoch", epoch), ("index", index)):
        if not 0 <= value < 2**64:
            raise UsageError("seed", f"{name} {value}: a whole number from 0 to 2**64 - 1 is needed")
    key = np.array([seed, STREAMS[stream]], dtype=np.uint64)
    counter = np.array([0, 0, epoch, index], dtype=np.uint64)  # the first word counts the lowest
    return np.random.Generator(np.random.Philox(counter=counter, key=key))
