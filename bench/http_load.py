#!/usr/bin/env python3
"""Loads gort's HTTP server and the plain epoll server alternately with wrk and prints what each costs.

    bench/http_load.py [--seconds S] [--rounds N] [--connections N,...] BUILD_DIRECTORY

The server is bound to one CPU, wrk to another. A second of load comes first, so that the memory of that many
connections has been touched (on some virtual machines a first touch costs 30 us). Lines of JSON as bench/report.py reads them, for every
number of connections N: http_N is the server's CPU time per request, http_N_rate the requests per second,
http_N_p99 wrk's 99th percentile. Both servers parse and answer with the same code (examples/http).
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys

START_TIMEOUT_S = 10
WARM_UP_S = 1
UNIT_US = {"us": 1, "ms": 1e3, "s": 1e6}


def start(command, cpu):
    """Starts a server on one CPU; returns it and the address that it names."""
    server = subprocess.Popen(["taskset", "-c", str(cpu), *command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
    signal.alarm(START_TIMEOUT_S)  # a server that names no address ends this program
    for line in server.stdout:
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        if found:
            signal.alarm(0)
            return server, f"http://127.0.0.1:{found.group(1)}/hello"
    sys.exit(f"{command[0]} ended without an address")


def load(url, connections, seconds, cpu):
    """Requests per second and the 99th percentile in us, by wrk."""
    out = subprocess.run(["taskset", "-c", str(cpu), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s",
                          "--latency", url], stdout=subprocess.PIPE, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"not every request was answered well:\n{out}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    return rate, float(value) * UNIT_US[unit]


def measure(impl, command, connections, seconds, cpus):
    server, url = start(command, cpus[0])
    try:
        load(url, connections, WARM_UP_S, cpus[-1])
        rate, p99_us = load(url, connections, seconds, cpus[-1])
    finally:  # whatever goes wrong, no server is left behind
        server.send_signal(signal.SIGTERM)
        out, _ = server.communicate()
    if server.returncode != 0:
        sys.exit(f"{command[0]} ended with status {server.returncode}:\n{out}")
    cpu_us = next(json.loads(line)["us"] for line in out.splitlines() if line.startswith("{"))
    name = f"http_{connections}"
    for workload, unit, value in ((name, "us", cpu_us), (name + "_rate", "req/s", rate),
                                  (name + "_p99", "us", p99_us)):
        print(json.dumps({"workload": workload, "impl": impl, "procs": 1, unit: value}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--connections", default="64,1000")
    parser.add_argument("build")
    args = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    servers = {"gort": [f"{args.build}/examples/http_server", "--port", "0", "--procs", "1", "--quiet",
                        "--report"],
               "epoll": [f"{args.build}/bench/epoll_http_server"]}
    for _ in range(args.rounds):
        for connections in map(int, args.connections.split(",")):
            for impl, command in servers.items():
                measure(impl, command, connections, args.seconds, cpus)


if __name__ == "__main__":
    main()
