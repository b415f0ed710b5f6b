// The workloads of bench/select_bench.cpp.
package main

const selects = 1_000_000

// selectReady: one of two cases is ready; ns per select and the send that fills the channel again.
func selectReady() {
	full, never := make(chan int, 1), make(chan int)
	full <- 1
	for i := 0; i < selects; i++ {
		select {
		case <-full:
		case <-never:
		}
		full <- 1
	}
}

// selectReady8: all of eight are.
func selectReady8() {
	var c [8]chan int
	for i := range c {
		c[i] = make(chan int, 1)
		c[i] <- 1
	}
	for i := 0; i < selects; i++ {
		won := 0
		select {
		case <-c[0]:
			won = 0
		case <-c[1]:
			won = 1
		case <-c[2]:
			won = 2
		case <-c[3]:
			won = 3
		case <-c[4]:
			won = 4
		case <-c[5]:
			won = 5
		case <-c[6]:
			won = 6
		case <-c[7]:
			won = 7
		}
		c[won] <- 1
	}
}

// selectDefault: one case, and nothing is there.
func selectDefault() {
	never := make(chan int)
	for i := 0; i < selects; i++ {
		select {
		case <-never:
		default:
		}
	}
}

// selectDefault2: two cases, and nothing is there.
func selectDefault2() {
	one, two := make(chan int), make(chan int)
	for i := 0; i < selects; i++ {
		select {
		case <-one:
		case <-two:
		default:
		}
	}
}

// selectPingpong: two goroutines, each over one of two channels in turn; ns per round trip.
func selectPingpong() {
	var ping, pong [2]chan int
	for i := range ping {
		ping[i], pong[i] = make(chan int), make(chan int)
	}
	done := make(chan bool)
	go func() {
		for i := 0; i < roundTrips; i++ {
			select {
			case <-ping[0]:
			case <-ping[1]:
			}
			pong[i%2] <- 1
		}
		done <- true
	}()
	for i := 0; i < roundTrips; i++ {
		ping[i%2] <- 1
		select {
		case <-pong[0]:
		case <-pong[1]:
		}
	}
	<-done
}
