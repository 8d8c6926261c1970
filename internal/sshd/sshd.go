// Package sshd runs a private OpenSSH server for tests, the demo and the
// benchmark. It has keys of its own, listens on loopback only, and works for
// root and for an ordinary user alike, who can then log in as themselves.
package sshd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Config says how the server is set up. Only Dir is required.
type Config struct {
	// Dir is an existing private directory, for the keys, the configuration,
	// the log and the sessions' home.
	Dir string

	// Path is the PATH of the sessions; empty leaves sshd's default.
	Path string

	// Env is more of the sessions' environment, as KEY=VALUE. HOME is an empty
	// directory below Dir unless it is set here, so that no session depends on
	// the shell start-up files of whoever runs it; nor does a receiver depend on
	// the configuration of this machine: OSTREE_RECEIVE_CONF is an empty file.
	Env []string

	// Lines are more lines of sshd_config. They stand first, since the first
	// value of an option wins, and so must not have a Match block.
	Lines []string

	// AuthorizedOptions stand before the key in authorized_keys, such as
	// "restrict".
	AuthorizedOptions string
}

// A Server is a running server. Stop must be called.
type Server struct {
	// IPv6 tells whether the server listens on ::1, too.
	IPv6 bool

	dir  string
	user string
	sshd string // path of the program
	mark string // what the environment of every session has, and no other

	listeners []net.Listener
	accepting sync.WaitGroup
	stopped   chan struct{} // closed when no session is left
	stop      func() error

	mu       sync.Mutex
	closed   bool
	sessions map[int]chan struct{} // closed when the sshd of that process ID is gone
	err      error                 // the first that kept a connection from being served
}

// Start makes the keys and the configuration and starts to listen. The server
// is ready when Start returns.
//
// The listeners are ours, and each connection gets an sshd in inetd mode. So
// there is no free port to guess and lose, and no readiness to wait for.
func Start(cfg Config) (*Server, error) {
	s, err := start(cfg)
	if err != nil {
		return nil, fmt.Errorf("start private sshd: %w", err)
	}
	return s, nil
}

func start(cfg Config) (*Server, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	// These would need a different quoting in sshd_config, ssh's options and
	// authorized_keys.
	if strings.ContainsAny(dir, " \t\r\n\"'\\%$") {
		return nil, fmt.Errorf("directory %q has a character that ssh would interpret", dir)
	}
	account, err := user.Current()
	if err != nil {
		return nil, err
	}
	program, err := findServer()
	if err != nil {
		return nil, err
	}

	s := &Server{
		dir:      dir,
		user:     account.Username,
		sshd:     program,
		mark:     "PRIVATE_SSHD=" + rand.Text(),
		stopped:  make(chan struct{}),
		sessions: map[int]chan struct{}{},
	}
	s.stop = sync.OnceValue(s.shutdown)

	if err := s.writeKeys(cfg.AuthorizedOptions); err != nil {
		return nil, err
	}
	if err := s.writeConfig(cfg); err != nil {
		return nil, err
	}
	if out, err := exec.Command(s.sshd, "-t", "-f", s.file("sshd_config")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("check configuration: %w: %s", err, out)
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// findServer returns the absolute path of sshd, without which it refuses to
// run. It is often not on the PATH of an ordinary user.
func findServer() (string, error) {
	path, err := exec.LookPath("sshd")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/sshd")
	}
	if err != nil {
		return "", errors.New("sshd not found; is openssh-server installed?")
	}
	return filepath.Abs(path)
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// writeKeys makes the key of the server and the key of the client, and writes
// the files with which each knows the other.
func (s *Server) writeKeys(options string) error {
	var public [2]string
	for i, name := range []string{"host_key", "client_key"} {
		for _, old := range []string{name, name + ".pub"} {
			if err := os.Remove(s.file(old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", s.file(name)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("make key: %w: %s", err, out)
		}
		line, err := os.ReadFile(s.file(name + ".pub"))
		if err != nil {
			return err
		}
		public[i] = string(line)
	}
	// The server is known by its key under any name: it has two addresses, and
	// more when it is reached through a proxy.
	if err := os.WriteFile(s.file("known_hosts"), []byte("* "+public[0]), 0o600); err != nil {
		return err
	}
	authorized := strings.TrimLeft(options+" "+public[1], " ")
	return os.WriteFile(s.file("authorized_keys"), []byte(authorized), 0o600)
}

func (s *Server) writeConfig(cfg Config) error {
	home := s.file("home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	defaults := []string{"HOME=" + home, "OSTREE_RECEIVE_CONF=" + os.DevNull}
	if cfg.Path != "" {
		defaults = append(defaults, "PATH="+cfg.Path)
	}
	// Of a variable that is set twice, it depends on the version which value counts.
	env := slices.DeleteFunc(defaults, func(variable string) bool { return sets(cfg.Env, variable) })
	env = append(env, cfg.Env...)
	env = append(env, s.mark)

	// Only the first SetEnv of a configuration counts, so it is a single line.
	setEnv := "SetEnv"
	for _, variable := range env {
		if strings.ContainsAny(variable, "\r\n\x00") {
			return fmt.Errorf("environment variable %q cannot be expressed in sshd_config", variable)
		}
		setEnv += " " + quote(variable)
	}

	usePAM := "no"
	if os.Geteuid() == 0 {
		// A container has no init script that makes it. No connection is
		// accepted without it.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return fmt.Errorf("create privilege separation directory: %w", err)
		}
		if locked(s.user) {
			usePAM = "yes"
		}
	}

	lines := append(cfg.Lines[:len(cfg.Lines):len(cfg.Lines)],
		"HostKey "+s.file("host_key"),
		"AuthorizedKeysFile "+s.file("authorized_keys"),
		"AuthenticationMethods publickey",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"PermitRootLogin yes",
		"UsePAM "+usePAM,
		"StrictModes no", // a directory for tests may be below /tmp
		"PermitUserRC no",
		"PrintMotd no",
		"PrintLastLog no",
		"UseDNS no",
		"PidFile none",
		"LogLevel VERBOSE",
		setEnv,
	)
	return os.WriteFile(s.file("sshd_config"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// sets tells whether an environment sets a variable.
func sets(env []string, variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
}

// quote makes one word for sshd_config.
func quote(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

// locked tells whether the account's password is locked, which sshd takes for
// a locked account unless PAM is asked.
func locked(account string) bool {
	shadow, err := os.ReadFile("/etc/shadow")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(shadow)) {
		if name, rest, _ := strings.Cut(line, ":"); name == account {
			return strings.HasPrefix(rest, "!")
		}
	}
	return false
}

func (s *Server) listen() error {
	ipv4, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.listeners = []net.Listener{ipv4}
	ipv6, err := net.Listen("tcp", net.JoinHostPort("::1", strconv.Itoa(s.Port())))
	if err == nil {
		s.listeners = append(s.listeners, ipv6)
		s.IPv6 = true
	}
	for _, l := range s.listeners {
		s.accepting.Add(1)
		go s.accept(l)
	}
	return nil
}

func (s *Server) accept(l net.Listener) {
	// The sessions die with the thread that started them (Pdeathsig). It is
	// kept to this goroutine, and so lives until all of them are gone anyway.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer s.accepting.Done()
	defer func() { <-s.stopped }()
	for {
		conn, err := l.Accept()
		if err == nil {
			err = s.serve(conn.(*net.TCPConn))
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// serve hands the connection to an sshd of its own.
func (s *Server) serve(conn *net.TCPConn) error {
	defer conn.Close()
	f, err := conn.File()
	if err != nil {
		return err
	}
	defer f.Close()

	cmd := exec.Command(s.sshd, "-i", "-f", s.file("sshd_config"), "-E", s.file("log"))
	cmd.Stdin = f
	cmd.Stdout = f
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // no Ctrl-C of ours: Stop is what ends it
		Pdeathsig: syscall.SIGKILL,
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	s.sessions[cmd.Process.Pid] = gone
	go func() {
		defer close(gone)
		cmd.Wait() // that a client was refused, or hung up, is no failure of ours
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, cmd.Process.Pid)
	}()
	return nil
}

func (s *Server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// Host is the address that the server listens on.
func (s *Server) Host() string { return "127.0.0.1" }

// Port is the TCP port that the server listens on.
func (s *Server) Port() int { return s.listeners[0].Addr().(*net.TCPAddr).Port }

// User is the account that can log in, which is the current one.
func (s *Server) User() string { return s.user }

// ClientOptions returns the options with which ssh, and ostree-push, log in.
func (s *Server) ClientOptions() []string { return s.ClientOptionsVia(s.Port()) }

// ClientOptionsVia is ClientOptions for a proxy of the server that listens on
// another port.
func (s *Server) ClientOptionsVia(port int) []string {
	return []string{
		"-i", s.file("client_key"),
		"-o", "UserKnownHostsFile=" + s.file("known_hosts"),
		"-o", "StrictHostKeyChecking=yes",
		"-o", "IdentitiesOnly=yes",
		"-o", "BatchMode=yes",
		"-p", strconv.Itoa(port),
	}
}

// Log returns what the server has logged so far.
func (s *Server) Log() string {
	log, _ := os.ReadFile(s.file("log")) // not there before the first connection
	return string(log)
}

// Stop stops to listen and kills every session with all that it started. No
// process is left when it returns.
func (s *Server) Stop() error { return s.stop() }

func (s *Server) shutdown() error {
	for _, l := range s.listeners {
		l.Close()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()

	err := s.KillSessions()
	close(s.stopped)
	s.accepting.Wait()

	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.err, err); err != nil {
		return fmt.Errorf("private sshd: %w", err)
	}
	return nil
}
