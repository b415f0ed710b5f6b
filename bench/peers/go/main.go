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
	"syscall"
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

// wake: a thread of its own, asleep in the kernel for 200 us in between, wakes a goroutine while everything
// else sleeps. Go has no threads outside its scheduler; one that is locked to a goroutine comes nearest.
func wake() (p50, p99 float64) {
	const warmUp, wakes = 200, 5000
	bell, done := make(chan time.Time, 1), make(chan []float64)
	go func() {
		var us []float64
		for called := range bell {
			us = append(us, float64(time.Since(called).Nanoseconds())/1e3)
		}
		done <- us[warmUp:]
	}()
	go func() {
		runtime.LockOSThread()
		gap := syscall.NsecToTimespec(200_000)
		for i := 0; i < warmUp+wakes; i++ {
			syscall.Nanosleep(&gap, nil)
			bell <- time.Now()
		}
		close(bell)
	}()
	us := <-done
	sort.Float64s(us)
	return us[len(us)/2], us[len(us)*99/100]
}

// residentBytes is the process's resident memory.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	var size, resident int64
	fmt.Sscan(string(text), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// memory100k: goroutines parked all at once; resident bytes each.
func memory100k() float64 {
	var all sync.WaitGroup
	gate := make(chan struct{})
	before := residentBytes()
	all.Add(crowd)
	var parked sync.WaitGroup
	parked.Add(crowd)
	for i := 0; i < crowd; i++ {
		go func() {
			parked.Done()
			<-gate
			all.Done()
		}()
	}
	parked.Wait()
	each := float64(residentBytes()-before) / crowd
	close(gate)
	all.Wait()
	return each
}

func report(workload string, procs int, unit string, value float64) {
	fmt.Printf("{\"workload\":%q,\"impl\":\"go\",\"procs\":%d,%q:%.3f}\n", workload, procs, unit, value)
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
		{"select_ready", selects, selectReady},
		{"select_ready_8", selects, selectReady8},
		{"select_default", selects, selectDefault},
		{"select_default_2", selects, selectDefault2},
		{"select_pingpong", roundTrips, selectPingpong},
		{"mutex", lockings, mutexAlone},
		{"mutex_8", lockers * lockingsEach, mutexCrowd},
	}
	if len(os.Args) == 3 && os.Args[1] == blockedClient {
		requests(os.Args[2])
		return
	}
	if chosen("memory_100k", os.Args[1:]) { // first, while the heap is small
		report("memory_100k", 1, "bytes", memory100k())
	}
	for procs := 1; procs <= 2 && procs <= runtime.NumCPU(); procs++ {
		runtime.GOMAXPROCS(procs)
		for _, w := range workloads {
			if chosen(w.name, os.Args[1:]) {
				report(w.name, procs, "ns", medianNs(w.operations, w.run))
			}
		}
		if chosen("wake", os.Args[1:]) {
			p50, p99 := wake()
			report("wake_p50", procs, "us", p50)
			report("wake_p99", procs, "us", p99)
		}
		if chosen("hog", os.Args[1:]) {
			reportDelays("hog", procs, hog(procs))
			reportDelays("hog_4x", procs, hog(4*procs))
		}
		if chosen("blocked", os.Args[1:]) {
			report("blocked_call", procs, "ns", blockedCall())
			reportDelays("blocked", procs, blocked())
		}
	}
}
