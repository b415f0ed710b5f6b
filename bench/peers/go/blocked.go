package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readers       = 50
	feedEvery     = 20 * time.Millisecond
	requestEvery  = time.Millisecond
	request       = "0123456789abcdef"
	blockedClient = "blocked-client"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// sleep blocks the thread in the kernel.
func sleep(d time.Duration) {
	wait := syscall.NsecToTimespec(d.Nanoseconds())
	syscall.Nanosleep(&wait, nil)
}

// requests is the client, in a process of its own: a request every millisecond; one number of microseconds a line.
// A request whose predecessor was late counts from when it should have been sent.
func requests(address string) {
	to, err := net.ResolveTCPAddr("tcp4", address)
	must(err)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	must(err)
	at := syscall.SockaddrInet4{Port: to.Port}
	copy(at.Addr[:], to.IP.To4())
	must(syscall.Connect(fd, &at))
	must(syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1))
	runtime.LockOSThread()
	var us []float64
	answer := make([]byte, len(request))
	due := time.Now()
	for end := due.Add(seconds(3)); due.Before(end); due = due.Add(requestEvery) {
		from := due
		if wait := time.Until(due); wait > 0 {
			sleep(wait)
			from = time.Now()
		}
		_, err := syscall.Write(fd, []byte(request))
		must(err)
		for n := 0; n < len(answer); {
			more, err := syscall.Read(fd, answer[n:])
			must(err)
			n += more
		}
		us = append(us, microseconds(time.Since(from)))
	}
	out := bufio.NewWriter(os.Stdout)
	for _, one := range us {
		fmt.Fprintln(out, one)
	}
	must(out.Flush())
}

func echo(listener net.Listener) {
	peer, err := listener.Accept()
	must(err)
	buffer := make([]byte, 4096)
	for {
		n, err := peer.Read(buffer)
		if err == io.EOF {
			return
		}
		must(err)
		_, err = peer.Write(buffer[:n])
		must(err)
	}
}

// blocked: an echo server beside goroutines in read(2); how long the requests took.
func blocked() []float64 {
	var pipes [readers][2]int
	var all sync.WaitGroup
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	must(err)
	all.Add(1)
	go func() {
		echo(listener)
		all.Done()
	}()
	for i := range pipes {
		must(syscall.Pipe2(pipes[i][:], syscall.O_CLOEXEC))
		all.Add(1)
		go func(fd int) {
			var one [1]byte
			for {
				if n, _ := syscall.Read(fd, one[:]); n != 1 {
					break
				}
			}
			all.Done()
		}(pipes[i][0])
	}
	over, fed := make(chan bool), make(chan bool)
	go func() {
		runtime.LockOSThread()
		for i := 0; ; i = (i + 1) % readers {
			sleep(feedEvery)
			select {
			case <-over:
				close(fed)
				return
			default:
			}
			_, err := syscall.Write(pipes[i][1], []byte("x"))
			must(err)
		}
	}()
	out, err := exec.Command(os.Args[0], blockedClient, listener.Addr().String()).Output()
	must(err)
	close(over)
	<-fed
	for _, ends := range pipes {
		syscall.Close(ends[1])
	}
	all.Wait()
	for _, ends := range pipes {
		syscall.Close(ends[0])
	}
	listener.Close()
	var us []float64
	for _, word := range strings.Fields(string(out)) {
		one, err := strconv.ParseFloat(word, 64)
		must(err)
		us = append(us, one)
	}
	return us
}

// blockedCall: what a system call costs over a bare one that does not tell the scheduler; ns.
func blockedCall() float64 {
	const calls = 200_000
	told := medianNs(calls, func() {
		for i := 0; i < calls; i++ {
			syscall.Syscall(syscall.SYS_GETPPID, 0, 0, 0)
		}
	})
	bare := medianNs(calls, func() {
		for i := 0; i < calls; i++ {
			syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
		}
	})
	return told - bare
}
