package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program on one processor, with its children.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
}

// Processors of the proxies, and of load and model server.
const (
	proxyCPU = "0"
	loadCPU  = "1"
)

// raiseLimit lets this process and its children open many connections.
func raiseLimit() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}

// start runs a command on a processor and waits until it listens.
func start(dir, name, cpu, address string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("taskset", append([]string{"-c", cpu}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), "GATEWAY_TOKEN="+secret, "GIN_MODE=release")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name, cmd, log}
	for range 100 {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return p, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	p.stop()
	return nil, fmt.Errorf("%s does not listen on %s: %.500s", name, address, text)
}

func (p *process) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait()
	_ = p.log.Close()
}

// pids are the processes of the group: workers too.
func (p *process) pids() (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		fields := statOf(file)
		if len(fields) > 2 && fields[2] == strconv.Itoa(p.cmd.Process.Pid) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// statOf returns the fields of /proc/PID/stat behind the name, from the state on.
func statOf(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.Fields(rest)
}

// cpu is the processor time of all processes of the group.
func (p *process) cpu() time.Duration {
	const tick = time.Second / 100 // USER_HZ
	var sum time.Duration
	for _, pid := range p.pids() {
		if fields := statOf(fmt.Sprintf("/proc/%d/stat", pid)); len(fields) > 12 {
			user, _ := strconv.Atoi(fields[11])
			system, _ := strconv.Atoi(fields[12])
			sum += time.Duration(user+system) * tick
		}
	}
	return sum
}

// memory returns resident and peak memory of the group in bytes.
func (p *process) memory() (resident, peak int64) { return p.status("VmRSS:"), p.status("VmHWM:") }

// anonymous is the resident memory that is no part of a file.
func (p *process) anonymous() int64 { return p.status("RssAnon:") }

// status adds up a line of /proc/PID/status of the group.
func (p *process) status(name string) (sum int64) {
	for _, pid := range p.pids() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			if fields[0] == name {
				n, _ := strconv.ParseInt(fields[1], 10, 64)
				sum += n << 10
			}
		}
	}
	return sum
}

// resetPeak makes the resident memory of now the peak.
func (p *process) resetPeak() {
	for _, pid := range p.pids() {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}

var errStopped = errors.New("it has stopped")

// check reports a process that has ended.
func (p *process) check() error {
	if len(p.pids()) == 0 {
		text, _ := os.ReadFile(p.log.Name())
		return fmt.Errorf("%s: %w: %.500s", p.name, errStopped, text)
	}
	return nil
}

// freeAddress is a loopback address with a port that is not in use.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func(c io.Closer) { _ = c.Close() }(listener)
	return listener.Addr().String(), nil
}
