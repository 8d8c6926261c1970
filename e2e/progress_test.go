package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kballard/go-shellquote"

	"ostree-push/internal/link"
	"ostree-push/internal/otrepo"
)

// shown is what a terminal has shown of objects that arrive.
type shown struct {
	percent   int
	done, all float64 // MiB
	about     bool
	rate      float64 // MiB/s, 0 if none was said
}

// pushOnTerminal pushes on a terminal, and returns what that has shown of the objects.
func (k *largeTest) pushOnTerminal(t *testing.T) (all []shown) {
	t.Helper()
	cmd := k.command(t)
	terminal := exec.Command("script", "-qec", shellquote.Join(cmd.Args...), filepath.Join(t.TempDir(), "typescript"))
	terminal.Env = cmd.Env
	said, err := terminal.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	line := regexp.MustCompile(`Receiving objects: +(\d+)% \( *([\d.]+) of (about +)?([\d.]+) MiB\)(?:, +([\d.]+) ([KM])iB/s)?`)
	number := func(s string) float64 {
		n, _ := strconv.ParseFloat(s, 64)
		return n
	}
	for _, match := range line.FindAllStringSubmatch(string(said), -1) {
		s := shown{percent: int(number(match[1])), done: number(match[2]), all: number(match[4]), about: match[3] != "", rate: number(match[5])}
		if match[6] == "K" {
			s.rate /= 1024
		}
		all = append(all, s)
	}
	t.Logf("%s", strings.ReplaceAll(string(said), "\r", "\n"))
	return all
}

// checkSteps checks that so much has arrived little by little, at about that rate.
func checkSteps(t *testing.T, all []shown, size, mostSize, rate float64) {
	t.Helper()
	var percents []int
	rated := false
	for i, s := range all {
		if s.percent > 0 && s.percent < 100 && (len(percents) == 0 || percents[len(percents)-1] != s.percent) {
			percents = append(percents, s.percent)
		}
		if i > 0 && s.done < all[i-1].done {
			t.Errorf("%v after %v", s, all[i-1])
		}
		if s.all < size || s.all > mostSize {
			t.Errorf("%v, and there are from %.1f to %.1f MiB", s, size, mostSize)
		}
		rated = rated || s.rate > rate/3 && s.rate < rate*1.5
	}
	if len(percents) < 5 {
		t.Errorf("it shows the percentages %v", percents)
	}
	if !rated {
		t.Errorf("it shows no rate of about %.1f MiB/s", rate)
	}
}

// Progress counts the bytes that have arrived, of those that are to be sent, also of a single object.
func TestProgressBytes(t *testing.T) {
	t.Parallel()
	const (
		size = 24 << 20
		rate = 50_000_000
		mib  = 1 << 20
	)
	l := link.Link{RTT: 20 * time.Millisecond, Rate: rate}
	perSecond := float64(rate) / 8 / mib
	t.Run("as it is stored", func(t *testing.T) {
		t.Parallel()
		k := newLargeTest(t, "archive", size, l)
		checkSteps(t, k.pushOnTerminal(t), 24, 24.1, perSecond)
	})
	// How much it is turns out as it is compressed.
	t.Run("compressed", func(t *testing.T) {
		t.Parallel()
		k := newLargeTest(t, "bare-user", 1<<10, l)
		var content []byte
		for i := 0; len(content) < size; i++ {
			content = fmt.Appendf(content, "%x", sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})) // compresses to about half
		}
		tree := t.TempDir()
		if err := os.WriteFile(filepath.Join(tree, "large"), content, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := (otrepo.Commit{Ref: "main", Dir: tree, Time: time.Unix(1_700_000_001, 0)}).Write(k.local); err != nil {
			t.Fatal(err)
		}
		all := k.pushOnTerminal(t)
		checkSteps(t, all, 11, 16, perSecond)
		if len(all) > 0 && !all[0].about {
			t.Errorf("%v is certain", all[0])
		}
	})
	t.Run("resumed", func(t *testing.T) {
		t.Parallel()
		k := newLargeTest(t, "archive", size, l)
		k.interrupt(t)
		checkSteps(t, k.pushOnTerminal(t), 1, 12+slack/mib, perSecond)
	})
}
