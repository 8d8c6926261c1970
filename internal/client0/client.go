package client0

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"ostree-push/ostree"
)

// Client pushes from the archive repository Repo by running Command, which is
// the receiver, or ssh with it.
type Client struct {
	Repo    string
	Refs    []string         // none: all of Repo
	Order   binary.ByteOrder // of what is sent; nil: little
	Command []string
	Stderr  io.Writer                        // of Command; nil: ours
	Trace   func(sent bool, message Message) // sees all messages; or nil

	// To not keep to the protocol.

	// Old is claimed as the commit that each ref has.
	Old string
	// Corrupt is the object ("SUM.filez"), or the last part of the name of
	// objects (".filez"), the first of which has a wrong byte.
	Corrupt string
	// Name is what the first object is sent as.
	Name string
	// Truncate ends everything in the middle of the first object.
	Truncate bool
	// Size is announced for the first object, if it is not nil.
	Size *uint64
}

// archiveMode is OSTREE_REPO_MODE_ARCHIVE.
const archiveMode = 1

// zeros is the commit of a ref that there is none of.
var zeros = strings.Repeat("0", 64)

// Push makes the remote refs what the local ones are. A status that is false is
// an error with its message. If the command fails, which it should after such
// a status, its *exec.ExitError is among the errors.
func (c *Client) Push(ctx context.Context) error {
	repo, err := ostree.Open(c.Repo)
	if err != nil {
		return err
	}
	defer repo.Close()

	cmd := exec.CommandContext(ctx, c.Command[0], c.Command[1:]...)
	cmd.Stderr = c.Stderr
	if c.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s := &session{Client: c, repo: repo, w: stdin, r: bufio.NewReader(stdout)}
	err = s.run(ctx)
	stdin.Close()
	return errors.Join(err, s.readEnd(), cmd.Wait())
}

// session is one run of Command.
type session struct {
	*Client
	repo *ostree.Repo
	w    io.WriteCloser
	r    *bufio.Reader

	corrupted bool
}

func (s *session) run(ctx context.Context) error {
	info, err := s.read(Info)
	if err != nil {
		return err
	}
	if mode, ok := info.Args["mode"].(int32); !ok || mode != archiveMode {
		return fmt.Errorf("remote repository's mode is %v", info.Args["mode"])
	}
	remote, ok := info.Args["refs"].(map[string]string)
	if !ok {
		return fmt.Errorf("remote refs are a %T", info.Args["refs"])
	}
	update, objects, err := s.plan(ctx, remote)
	if err != nil {
		return err
	}
	if len(update) > 0 {
		if err := s.request(Message{Command: Update, Args: update}, nil); err != nil {
			// Also after a status that is false, the receiver waits for this.
			return errors.Join(err, s.write(Message{Command: Done}))
		}
		for i, name := range objects {
			if err := s.put(name, i == 0); err != nil {
				return err
			}
		}
	}
	return s.write(Message{Command: Done})
}

// plan returns the arguments of Update, and the names of the objects that the
// remote lacks: each commit after what it needs.
func (s *session) plan(ctx context.Context, remote map[string]string) (ostree.Vardict, []string, error) {
	local, err := s.repo.Refs(ctx)
	if err != nil {
		return nil, nil, err
	}
	refs := s.Refs
	if len(refs) == 0 {
		for _, ref := range local.Sorted() {
			refs = append(refs, string(ref))
		}
	}
	update := ostree.Vardict{}
	known := map[string]bool{}
	var commits, contents []string
	for _, ref := range refs {
		sum, ok := local[ostree.Ref(ref)]
		if !ok {
			return nil, nil, fmt.Errorf("no local ref %s", ref)
		}
		old, ok := remote[ref]
		if !ok {
			old = zeros
		} else if old == sum.String() {
			continue
		}
		update[ref] = [2]string{cmp.Or(s.Old, old), sum.String()}
		history, err := s.history(sum, old)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", ref, err)
		}
		if old != zeros {
			have, err := s.tree(ctx, old)
			if err != nil {
				return nil, nil, err
			}
			for _, name := range have {
				known[name] = true
			}
		}
		for _, commit := range history {
			tree, err := s.tree(ctx, commit)
			if err != nil {
				return nil, nil, err
			}
			contents = append(contents, tree...)
			if _, err := os.Stat(s.path(commit + ".commitmeta")); err == nil {
				commits = append(commits, commit+".commitmeta")
			}
			commits = append(commits, commit+".commit")
		}
	}
	var objects []string
	for _, name := range append(contents, commits...) {
		if !known[name] {
			known[name] = true
			objects = append(objects, name)
		}
	}
	return update, objects, nil
}

// history returns the commits from the one after old, or the first one that
// there is, to sum.
func (s *session) history(sum ostree.Checksum, old string) ([]string, error) {
	var list []string
	for sum.String() != old {
		c, err := s.repo.LoadCommit(sum)
		if len(list) > 0 && errors.Is(err, ostree.ErrNotFound) {
			break // what the repository has begins here
		}
		if err != nil {
			return nil, err
		}
		c.Close()
		list = append(list, sum.String())
		sum = c.Parent
		if sum.IsZero() {
			break
		}
	}
	if old != zeros && sum.String() != old {
		return nil, fmt.Errorf("remote commit %s is not in the local history", old)
	}
	slices.Reverse(list)
	return list, nil
}

// treeLine is a line of `ostree ls -RCd`: mode, owner, group, size, checksum,
// and the checksum of the metadata of a directory.
var treeLine = regexp.MustCompile(`^([dl-])\d+ +\d+ +\d+ +\d+ ([0-9a-f]{64}) (?:([0-9a-f]{64}) )?/`)

// tree returns the names of a commit's objects, without the commit itself.
// Directories come after what is in them.
func (s *session) tree(ctx context.Context, commit string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "ostree", "--repo="+s.Repo, "ls", "-RCd", commit)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ostree ls: %w: %s", err, stderr.String())
	}
	var files, dirs []string
	for line := range bytes.Lines(out) {
		f := treeLine.FindSubmatch(line)
		switch {
		case f == nil:
			return nil, fmt.Errorf("ostree ls: %q", line)
		case string(f[1]) == "d":
			dirs = append(dirs, string(f[2])+".dirtree", string(f[3])+".dirmeta")
		default:
			files = append(files, string(f[2])+".filez")
		}
	}
	slices.Reverse(dirs)
	return append(files, dirs...), nil
}

func (s *session) path(object string) string {
	return filepath.Join(s.Repo, "objects", object[:2], object[2:])
}

// put sends an object, and does to the first one what was asked for.
func (s *session) put(name string, first bool) error {
	data, err := os.ReadFile(s.path(name))
	if err != nil {
		return err
	}
	if s.Corrupt != "" && strings.HasSuffix(name, s.Corrupt) && !s.corrupted && len(data) > 0 {
		data[len(data)/2] ^= 1
		s.corrupted = true
	}
	size := uint64(len(data))
	if first {
		name = cmp.Or(s.Name, name)
		if s.Size != nil {
			size = *s.Size
		}
		if s.Truncate {
			data = data[:len(data)/2]
		}
	}
	m := Message{Command: PutObject, Args: ostree.Vardict{"object": name, "size": size}}
	if err := s.request(m, data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if uint64(len(data)) < size {
		return fmt.Errorf("%s: remote has accepted %d of %d bytes", name, len(data), size)
	}
	return nil
}

// request sends a message, and the bytes of its object, and expects a status
// that is true.
func (s *session) request(m Message, data []byte) error {
	err := s.write(m)
	if err == nil {
		_, err = s.w.Write(data)
	}
	if size, ok := m.Args["size"].(uint64); ok && uint64(len(data)) < size {
		// Both sides would wait for each other if we left it open.
		s.w.Close()
	}
	// A receiver that does not want it may have said why, and gone.
	if statusErr := s.readStatus(); statusErr != nil {
		return errors.Join(statusErr, err)
	}
	return err
}

func (s *session) readStatus() error {
	status, err := s.read(Status)
	if err != nil {
		return err
	}
	result, ok := status.Args["result"].(bool)
	message, isText := status.Args["message"].(string)
	switch {
	case !ok || !isText:
		return fmt.Errorf("remote sends a wrong status: %v", status.Args)
	case !result:
		return fmt.Errorf("remote: %s", message)
	}
	return nil
}

func (s *session) read(command byte) (Message, error) {
	m, err := ReadMessage(s.r)
	if err != nil {
		return m, fmt.Errorf("read from remote: %w", err)
	}
	if s.Trace != nil {
		s.Trace(false, m)
	}
	if m.Command != command {
		return m, fmt.Errorf("remote sends %v, not command %d", m, command)
	}
	return m, nil
}

func (s *session) write(m Message) error {
	m.Order = s.Order
	if m.Order == nil {
		m.Order = binary.LittleEndian
	}
	if s.Trace != nil {
		s.Trace(true, m)
	}
	return WriteMessage(s.w, m)
}

// readEnd reads what there should not be any more.
func (s *session) readEnd() error {
	for {
		m, err := ReadMessage(s.r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			io.Copy(io.Discard, s.r)
			return fmt.Errorf("read from remote, at the end: %w", err)
		}
		if s.Trace != nil {
			s.Trace(false, m)
		}
	}
}
