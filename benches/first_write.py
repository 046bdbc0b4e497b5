#!/usr/bin/env python3
"""What a 4 KiB overwrite costs in a file that was first written in steps of so many bytes.

    benches/first_write.py [folder]

Writes a file of 256 MiB in the folder (the current one unless given) once for each step, syncs it, and
overwrites random 4 KiB in it. docs/performance.md says why the store writes no more than 16 KiB at once.
"""

import os
import random
import statistics
import sys
import time

SIZE = 256 << 20
PAGE = 4096


def nanoseconds_a_page(pages, write):
    start = time.perf_counter()
    write()
    return (time.perf_counter() - start) / pages * 1e9


def measure(path, step):
    data = os.urandom(step)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    first = nanoseconds_a_page(
        SIZE // PAGE, lambda: [os.pwrite(file, data, at) for at in range(0, SIZE, step)]
    )
    os.fdatasync(file)
    later = []
    for _ in range(5):
        places = [random.randrange(SIZE // PAGE) * PAGE for _ in range(4000)]
        page = data[:PAGE]
        later.append(
            nanoseconds_a_page(len(places), lambda: [os.pwrite(file, page, at) for at in places])
        )
        os.fdatasync(file)
    os.close(file)
    return first, statistics.median(later)


def main():
    path = os.path.join(sys.argv[1] if len(sys.argv) > 1 else ".", "first_write.tmp")
    try:
        for step in [4 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20]:
            first, later = measure(path, step)
            print(f"figure: first_write_{step >> 10}_kib_ns_per_page = {first:.0f}")
            print(f"figure: overwrite_after_{step >> 10}_kib_ns_per_page = {later:.0f}")
    finally:
        os.unlink(path)


if __name__ == "__main__":
    main()
