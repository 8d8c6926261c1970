package sshd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// killTimeout is how long a killed process may take to be gone. It is long,
// because one that waits for a disk is not gone before the disk answers.
const killTimeout = 30 * time.Second

// KillSessions kills every session with all that it started, as if the machine
// of the server had lost power, and waits until they are gone. The server goes
// on listening.
//
// Commands of a session are in process groups of their own, so there is no
// group to kill. All processes are stopped before the first is killed: a
// stopped process starts no other, and keeps its place in the tree.
func (s *Server) KillSessions() error {
	frozen := map[int]int{} // a pidfd by process ID
	defer func() {
		for _, fd := range frozen {
			unix.Close(fd)
		}
	}()
	var servers []chan struct{}
	for {
		pids, err := s.processes()
		if err != nil {
			return fmt.Errorf("find processes of sessions: %w", err)
		}
		fresh := false
		for _, pid := range pids {
			if _, ok := frozen[pid]; ok {
				continue
			}
			fd, err := unix.PidfdOpen(pid, 0)
			if errors.Is(err, unix.ESRCH) {
				continue
			}
			if err != nil {
				return fmt.Errorf("open process %d: %w", pid, err)
			}
			frozen[pid] = fd
			fresh = true
			if gone := s.server(pid); gone != nil {
				servers = append(servers, gone)
			}
			if err := signal(fd, unix.SIGSTOP); err != nil {
				return fmt.Errorf("stop process %d: %w", pid, err)
			}
		}
		if !fresh {
			break
		}
	}
	for pid, fd := range frozen {
		if err := signal(fd, unix.SIGKILL); err != nil {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	deadline := time.Now().Add(killTimeout)
	for pid, fd := range frozen {
		if err := waitGone(fd, deadline); err != nil {
			return fmt.Errorf("wait for killed process %d: %w", pid, err)
		}
	}
	for _, gone := range servers {
		<-gone
	}
	return nil
}

// WaitSessions waits until every session has ended by itself, with all that it
// started.
func (s *Server) WaitSessions(timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		pids, err := s.processes()
		if err != nil {
			return fmt.Errorf("find processes of sessions: %w", err)
		}
		if len(pids) == 0 {
			return nil
		}
		if err := waitProcess(pids[0], deadline); err != nil {
			return fmt.Errorf("wait for process %d of a session: %w", pids[0], err)
		}
	}
}

// waitProcess waits until a process, which may be gone already, is gone.
func waitProcess(pid int, deadline time.Time) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return waitGone(fd, deadline)
}

// server returns what is closed when the process is gone, if it is one of the
// running sshds.
func (s *Server) server(pid int) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[pid]
}

// signal sends a signal to a process that may be gone already.
func signal(pidfd int, sig unix.Signal) error {
	err := unix.PidfdSendSignal(pidfd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

func waitGone(pidfd int, deadline time.Time) error {
	for {
		left := max(0, time.Until(deadline))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return errors.New("timed out")
		default:
			return nil
		}
	}
}

// processes returns the process IDs of all sessions' processes: those below
// the running sshds, and those that outlived theirs, which are known by their
// environment.
func (s *Server) processes() ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	parent := map[int]int{}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // gone in the meantime
		}
		// PID (NAME) STATE PPID …, where NAME can have anything in it.
		end := bytes.LastIndexByte(stat, ')')
		fields := bytes.Fields(stat[end+1:])
		if end < 0 || len(fields) < 2 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		ppid, err := strconv.Atoi(string(fields[1]))
		if err != nil {
			continue
		}
		parent[pid] = ppid
	}

	s.mu.Lock()
	servers := map[int]bool{}
	for pid := range s.sessions {
		servers[pid] = true
	}
	s.mu.Unlock()

	var pids []int
	for pid := range parent {
		if below(pid, parent, servers) || s.marked(pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// below tells whether the process, or an ancestor of it, is one of the roots.
func below(pid int, parent map[int]int, roots map[int]bool) bool {
	// As the map is no snapshot, it might have a circle in it.
	for range len(parent) + 1 {
		if roots[pid] {
			return true
		}
		next, ok := parent[pid]
		if !ok {
			return false
		}
		pid = next
	}
	return false
}

func (s *Server) marked(pid int) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false // gone, or another account's
	}
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if string(variable) == s.mark {
			return true
		}
	}
	return false
}
