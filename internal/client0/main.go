package client0

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
)

const usage = `usage: client0 [options] REPO [REF...] -- COMMAND...
  -order l|B     byte order of what is sent
  -v             show all messages on standard error
To not keep to the protocol:
  -old SUM       claim that the refs have this commit
  -corrupt NAME  change a byte of the first object whose name ends in NAME
  -name NAME     send the first object as NAME
  -truncate      end in the middle of the first object
  -size N        announce this size for the first object
`

// Main is a program for scripts. It fails if anything but the push of all refs
// is the outcome.
func Main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "client0:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var c Client
	flags := flag.NewFlagSet("client0", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	flags.Func("order", "", func(s string) error {
		switch s {
		case "l":
			c.Order = binary.LittleEndian
		case "B":
			c.Order = binary.BigEndian
		default:
			return fmt.Errorf("neither l nor B")
		}
		return nil
	})
	flags.BoolFunc("v", "", func(string) error {
		c.Trace = func(sent bool, m Message) {
			arrow := "<"
			if sent {
				arrow = ">"
			}
			fmt.Fprintln(os.Stderr, arrow, m)
		}
		return nil
	})
	flags.StringVar(&c.Old, "old", "", "")
	flags.StringVar(&c.Corrupt, "corrupt", "", "")
	flags.StringVar(&c.Name, "name", "", "")
	flags.BoolVar(&c.Truncate, "truncate", false, "")
	flags.Func("size", "", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 64)
		c.Size = &n
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	args = flags.Args()
	i := slices.Index(args, "--")
	if i < 1 || i == len(args)-1 {
		return fmt.Errorf("wrong arguments: %q\n%s", args, usage)
	}
	c.Repo, c.Refs, c.Command = args[0], args[1:i], args[i+1:]
	return c.Push(context.Background())
}
