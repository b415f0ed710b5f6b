#!/usr/bin/env python3
"""Runs benchmark programs alternately and prints medians, spread and ratios.

    bench/report.py [--repeat N] [--out results.json] PROGRAM...

Every PROGRAM prints lines of JSON, one per measurement (see bench/harness.hpp):

    {"workload":"yield","impl":"gort","procs":1,"ns":12.3}

The key beside workload, impl and procs is the unit. All programs are run once, then all of them
again, N times, so that a slow minute of the machine falls on all alike. A ratio compares medians of
the same run. Only the standard library is used.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys

OURS = "gort"
FLOOR = ("switch", "boost.context")  # the raw context switch: workload and implementation
TIMEOUT_S = 900  # hog for 30 s each takes four minutes


def measure(command, samples):
    """Runs one program and adds its values to samples. Returns what went wrong, or None."""
    try:
        run = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"no end after {TIMEOUT_S} s"
    except OSError as error:
        return str(error)
    if run.returncode != 0:
        return f"status {run.returncode}"
    values = 0  # how many were read
    for line in run.stdout.splitlines():
        if not line.startswith("{"):
            continue
        try:
            record = json.loads(line)
            workload, impl = record.pop("workload"), record.pop("impl")
            procs = record.pop("procs", 1)
            ((unit, value),) = record.items()
            value = float(value)
        except (ValueError, KeyError, TypeError):
            return f"not a measurement: {line}"
        samples.setdefault((workload, procs, unit), {}).setdefault(impl, []).append(value)
        values += 1
    if not values:
        print(f"nothing measured by: {command}", file=sys.stderr)
    return None


def number(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def floor_ns(samples):
    for (workload, _, unit), impls in samples.items():
        if workload == FLOOR[0] and unit == "ns" and FLOOR[1] in impls:
            return statistics.median(impls[FLOOR[1]])
    return None


def table(samples):
    floor = floor_ns(samples)
    rows = [("workload", "procs", "who", "median", "min .. max", f"{OURS} / who", "raw switches")]
    for (workload, procs, unit), impls in samples.items():
        ours = statistics.median(impls[OURS]) if OURS in impls else None
        first = True
        for impl in sorted(impls, key=lambda name: (name != OURS, name)):
            median = statistics.median(impls[impl])
            ratio = f"{ours / median:.2f}" if ours is not None and impl != OURS and median else ""
            switches = f"{median / floor:.1f}" if floor and unit == "ns" else ""
            rows.append((workload if first else "", str(procs) if first else "", impl,
                         f"{number(median)} {unit}",
                         f"{number(min(impls[impl]))} .. {number(max(impls[impl]))}", ratio, switches))
            first = False
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = (0, 2)  # columns of words; the others hold numbers
    for row in rows:
        cells = [cell.ljust(width) if i in left else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def machine():
    model = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            model = next((line.split(":", 1)[1].strip() for line in info
                          if line.startswith("model name")), model)
    except OSError:
        pass
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0)), "kernel": platform.release()}


def save(path, repeat, samples):
    results = [{"workload": workload, "procs": procs, "impl": impl, "unit": unit,
                "median": statistics.median(values), "min": min(values), "max": max(values),
                "samples": values}
               for (workload, procs, unit), impls in samples.items()
               for impl, values in impls.items()]
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        json.dump({"machine": machine(), "repeat": repeat, "results": results}, out, indent=1)
        out.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, metavar="N")
    parser.add_argument("--out", metavar="FILE", help="write the results there as JSON")
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    args = parser.parse_args()
    if args.repeat < 1:
        parser.error("--repeat must be at least 1")

    samples, failures = {}, {}
    for turn in range(args.repeat):
        print(f"round {turn + 1} of {args.repeat}", file=sys.stderr, flush=True)
        for command in args.programs:
            if command in failures:
                continue
            failure = measure(command, samples)
            if failure:
                failures[command] = failure
    table(samples)
    here = machine()
    print(f"{here['cpu']}, {here['cpus']} CPUs, Linux {here['kernel']}; medians of {args.repeat}, "
          "programs run alternately; a ratio below 1 is in gort's favour, but of rates above 1.")
    if args.out:
        save(args.out, args.repeat, samples)
        print(f"All values are in {args.out}.")
    for command, failure in failures.items():
        print(f"failed: {command}: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
