package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// hog: goroutines that spin want every P, another one wants to run a millisecond after it has run; its delays.
func hog(hogs int) []float64 {
	var over int32
	var all sync.WaitGroup
	for i := 0; i < hogs; i++ {
		all.Add(1)
		go func() {
			for atomic.LoadInt32(&over) == 0 {
			}
			all.Done()
		}()
	}
	var us []float64
	for end := time.Now().Add(seconds(3)); time.Now().Before(end); {
		due := time.Now().Add(time.Millisecond)
		time.Sleep(time.Until(due))
		us = append(us, microseconds(time.Since(due)))
	}
	atomic.StoreInt32(&over, 1)
	all.Wait()
	return us
}
