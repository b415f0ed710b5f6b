// The Go peer: gort's workloads in Go, one JSON line per measurement, as bench/harness.hpp prints them.
// Arguments choose the workloads whose names start with one of them; none means all.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	repetitions = 5
	yields      = 2_000_000
	spawns      = 200_000
	crowd       = 100_000
	roundTrips  = 500_000
)

// medianNs times f, which does the given number of operations, after one call to warm up.
func medianNs(operations int, f func()) float64 {
	f()
	var ns []float64
	for i := 0; i < repetitions; i++ {
		start := time.Now()
		f()
		ns = append(ns, float64(time.Since(start).Nanoseconds())/float64(operations))
	}
	sort.Float64s(ns)
	return ns[len(ns)/2]
}

// yield: two goroutines alternate; ns per yield.
func yield() {
	var both sync.WaitGroup
	both.Add(2)
	for i := 0; i < 2; i++ {
		go func() {
			defer both.Done()
			for n := 0; n < yields/2; n++ {
				runtime.Gosched()
			}
		}()
	}
	both.Wait()
}

// spawn: an empty goroutine is started and joined, one at a time.
func spawn() {
	var one sync.WaitGroup
	for i := 0; i < spawns; i++ {
		one.Add(1)
		go one.Done()
		one.Wait()
	}
}

// spawn100k: all are started, then all are joined.
func spawn100k() {
	var all sync.WaitGroup
	all.Add(crowd)
	for i := 0; i < crowd; i++ {
		go all.Done()
	}
	all.Wait()
}

// pingpong: two goroutines over two unbuffered channels; ns per round trip.
func pingpong() {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for v := range ping {
			pong <- v
		}
		close(pong)
	}()
	for i := 0; i < roundTrips; i++ {
		ping <- i
		<-pong
	}
	close(ping)
	<-pong
}

// chosen tells whether a workload is to run.
func chosen(name string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return len(prefixes) == 0
}

func main() {
	workloads := []struct {
		name       string
		operations int
		run        func()
	}{
		{"yield", yields, yield},
		{"spawn", spawns, spawn},
		{"spawn100k", crowd, spawn100k},
		{"pingpong", roundTrips, pingpong},
	}
	for procs := 1; procs <= 2 && procs <= runtime.NumCPU(); procs++ {
		runtime.GOMAXPROCS(procs)
		for _, w := range workloads {
			if chosen(w.name, os.Args[1:]) {
				ns := medianNs(w.operations, w.run)
				fmt.Printf("{\"workload\":%q,\"impl\":\"go\",\"procs\":%d,\"ns\":%.3f}\n", w.name, procs, ns)
			}
		}
	}
}
