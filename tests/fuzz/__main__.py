"""Fuzz all readers for a time: `PYTHONPATH=tests python -m fuzz --minutes 60 --faults faults`.

Inputs are read in worker processes that may use 2 GB more than they begin with. An input is at
fault if its reader raises anything but a UserError, takes 10 s of processor time, needs more
memory, or ends the process. `--reader pth --seed 7-123` tries one input again.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

SECONDS, BYTES = 10, 2 << 30
PER_WORKER = 100  # of each reader
STUCK_SECONDS = 300  # without a word from a worker


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m fuzz")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--first", type=int, default=0, help="number of the first worker")
    parser.add_argument("--reader", help="only this one")
    parser.add_argument("--seed", help="of one input to try again")
    parser.add_argument("--faults", type=Path, default=Path("faults"), help="folder for inputs")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.worker, arguments.reader)
    elif arguments.seed:
        again(arguments.reader, arguments.seed)
    else:
        sys.exit(fuzz(arguments.minutes, arguments.first, arguments.reader, arguments.faults))


def fuzz(minutes: float, worker: int, reader: str | None, folder: Path) -> int:
    """Start workers one after the other until the time is up; the number of faults."""
    total, readers = Counter[str](), Counter[str]()
    slowest: tuple[float, str] = (0.0, "")
    biggest: tuple[float, str] = (0.0, "")
    deadline = time.monotonic() + 60 * minutes
    while time.monotonic() < deadline:
        last, silent = "", True
        for said in words_of(worker, reader, deadline):
            silent = False
            if "begins" in said:
                last = said["begins"]
                continue
            last = ""
            total[said["kind"]] += 1
            readers[said["name"].partition(" #")[0]] += 1
            slowest = max(slowest, (said["seconds"], said["name"]))
            biggest = max(biggest, (said["megabytes"], said["name"]))
            if said["kind"] == "fault":
                keep(folder, said["name"], said["text"])
        if last and time.monotonic() < deadline:
            total["fault"] += 1
            keep(folder, last, "the process ended, or did not end")
        if silent and time.monotonic() < deadline:
            sys.exit(f"worker {worker} ended before it read anything")
        worker += 1
        print(
            f"{sum(total.values()):,} inputs: {total['result']:,} results, {total['refusal']:,} "
            f"refusals, {total['fault']} faults; slowest {slowest[0]:.2f} s ({slowest[1]}), "
            f"biggest {biggest[0]:.0f} MB ({biggest[1]})",
            flush=True,
        )
    print(", ".join(f"{name} {count:,}" for name, count in sorted(readers.items())))
    return min(total["fault"], 100)


def words_of(worker: int, reader: str | None, deadline: float) -> Any:
    """What a worker says of each input."""
    command = [sys.executable, "-m", "fuzz", f"--worker={worker}"]
    command += [f"--reader={reader}"] if reader else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        signal.signal(signal.SIGALRM, lambda *_: process.kill())
        try:
            for line in process.stdout:
                left = deadline + 5 - time.monotonic()
                signal.alarm(max(1, min(STUCK_SECONDS, int(left))))
                try:
                    yield json.loads(line)
                except ValueError:
                    continue  # what a library has printed
        finally:
            signal.alarm(0)
            process.kill()


def keep(folder: Path, name: str, text: str) -> None:
    """Keep an input that is at fault, and why."""
    from fuzz.readers import READERS
    from fuzz.trying import made

    folder.mkdir(parents=True, exist_ok=True)
    reader, _, seed = name.partition(" #")
    path = folder / f"{reader.replace(' ', '_')}-{seed}"
    path.with_suffix(".txt").write_text(f"--reader '{reader}' --seed {seed}\n{text}\n")
    path.with_suffix(".input").write_bytes(made(READERS[reader], f"{reader} #{seed}"))
    last = text.strip().splitlines()[-1][:200]
    print(f"fault: --reader '{reader}' --seed {seed}: {last}", flush=True)


def work(worker: int, chosen: str | None) -> None:
    """Try inputs, and say of each what came of it."""
    from fuzz.readers import READERS
    from fuzz.trying import made, names, tried

    words = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not ours
    for reader in names(chosen):  # what is imported on the way counts for none of the inputs
        tried(READERS[reader], READERS[reader].good())
    limit_memory()
    signal.signal(signal.SIGPROF, too_slow)
    for number in range(PER_WORKER):
        for reader in names(chosen):
            name = f"{reader} #{worker}-{number}"
            words.write(json.dumps({"begins": name}) + "\n")
            content = made(READERS[reader], name)
            before, begin = peak(), time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            found = tried(READERS[reader], content)
            signal.setitimer(signal.ITIMER_PROF, 0)
            facts = {"seconds": time.process_time() - begin, "megabytes": peak() - before}
            told = {"name": name, "kind": found.kind, "text": found.text[-5000:]}
            words.write(json.dumps(told | facts) + "\n")


def limit_memory() -> None:
    """Let the process have no more than some memory on top of what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def peak() -> float:
    """The most memory that the process has used so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def too_slow(*_: Any) -> None:
    """End an input that takes too long."""
    raise TimeoutError(f"it took {SECONDS} s")


def again(reader: str, seed: str) -> None:
    """Try one input and say what comes of it."""
    from fuzz.readers import READERS
    from fuzz.trying import made, tried

    content = made(READERS[reader], f"{reader} #{seed}")
    print(content[:2000])
    print(tried(READERS[reader], content))


if __name__ == "__main__":
    main()
