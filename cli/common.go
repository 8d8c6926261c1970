package cli

import (
	"github.com/alecthomas/kong"

	"ostree-push/report"
)

// Common are the options that every program has; a grammar embeds them.
type Common struct {
	Quiet   bool             `short:"q" pusher:"" help:"Show warnings and errors only."`
	Verbose bool             `short:"v" pusher:"" help:"Show what is being done."`
	Version kong.VersionFlag `pusher:"" help:"Show the version and exit."`
}

// Level is the least level of what is to be shown.
func (c Common) Level() report.Level {
	switch {
	case c.Verbose:
		return report.Debug
	case c.Quiet:
		return report.Warning
	}
	return report.Info
}
