// The workloads of bench/mutex_bench.cpp.
package main

import "sync"

const (
	lockings     = 20_000_000
	lockers      = 8
	lockingsEach = 250_000
)

func lockAndUnlock(m *sync.Mutex, n int, count *int) {
	for i := 0; i < n; i++ {
		m.Lock()
		*count++
		m.Unlock()
	}
}

// mutexAlone: one goroutine; ns per Lock and Unlock.
func mutexAlone() {
	var m sync.Mutex
	var count int
	lockAndUnlock(&m, lockings, &count)
}

// mutexCrowd: eight that want the same one all the time.
func mutexCrowd() {
	var m sync.Mutex
	var count int
	var done sync.WaitGroup
	for i := 0; i < lockers; i++ {
		done.Add(1)
		go func() {
			lockAndUnlock(&m, lockingsEach, &count)
			done.Done()
		}()
	}
	done.Wait()
}
