package main

import (
	"os"
	"sort"
	"strconv"
	"time"
)

// seconds is how long a workload that goes by time is kept up: BENCH_SECONDS, or as many as are given.
func seconds(usual int) time.Duration {
	if wanted, err := strconv.Atoi(os.Getenv("BENCH_SECONDS")); err == nil && wanted > 0 {
		usual = wanted
	}
	return time.Duration(usual) * time.Second
}

func microseconds(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1e3
}

// quantile is as bench::quantile of the harness.
func quantile(us []float64, q float64) float64 {
	if len(us) == 0 {
		return 0
	}
	sort.Float64s(us)
	at := int(q * float64(len(us)))
	if at >= len(us) {
		at = len(us) - 1
	}
	return us[at]
}

func reportDelays(name string, procs int, us []float64) {
	report(name+"_p50", procs, "us", quantile(us, 0.5))
	report(name+"_p99", procs, "us", quantile(us, 0.99))
	report(name+"_max", procs, "us", quantile(us, 1))
}
