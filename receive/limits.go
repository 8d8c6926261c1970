package receive

import (
	"fmt"
	"os"
	"time"

	"ostree-push/cli"
	"ostree-push/receive/config"
	"ostree-push/receive/locate"
)

// Limits are what somebody who calls the receiver for a pusher allows that
// pusher. They hold whatever the configuration and the command line say.
type Limits struct {
	Root    string   // only repositories below it; "": as configured
	Refs    []string // only refs that match one of these patterns as well; none: as configured
	NoForce bool
	Config  string // the only file to read the configuration from; "": as usual

	Beat time.Duration // how often the pusher is told that the receiver is alive; 0: as usual
}

// CheckRefPattern returns an error if s cannot be one of Limits.Refs.
func CheckRefPattern(s string) error { return config.CheckRefPattern(s) }

// load reads the configuration.
func (l Limits) load() (*config.Policy, error) {
	sources := config.DefaultSources()
	if l.Config != "" {
		// One that is not there is fine elsewhere, but here somebody counts on it.
		if _, err := os.Stat(l.Config); err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		sources.Only = l.Config
	}
	policy, err := config.Load(sources)
	return policy, cli.Hint(err, "ostree-receive.toml(5) explains the options")
}

// find finds the repository that a pusher calls name, and the policy for it.
func (l Limits) find(policy *config.Policy, name string) (*locate.Location, *config.Config, error) {
	root := policy.Root()
	if l.Root != "" {
		root = l.Root
	}
	at, err := locate.Find(root, name)
	if err != nil {
		return nil, nil, err
	}
	c, err := policy.For(at.Path())
	if err == nil {
		err = c.Limit(l.Refs, l.NoForce)
	}
	if err != nil {
		at.Close()
		return nil, nil, err
	}
	return at, c, nil
}

// beat is how often a receiver says that it is alive.
const beat = 10 * time.Second

func (l Limits) beat() time.Duration {
	if l.Beat != 0 {
		return l.Beat
	}
	return beat
}
