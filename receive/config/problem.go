package config

import "os"

// Problem is what is wrong with the value of an option for this account on this
// machine: a file that is not there, or a program that is not installed. The error names
// the option.
type Problem struct {
	Option string
	Err    error
}

// FindKeys checks that the files with keys are there, and looks for those with
// trusted keys that are not configured, beside the configuration.
func (c *Config) FindKeys() error {
	for _, problem := range c.KeyProblems() {
		return problem.Err
	}
	return nil
}

// Place returns where the value of an option is from: FILE:LINE, "default", or "found" for
// a file that has been found beside the configuration.
func (c *Config) Place(option string) string { return c.values[option].at.String() }

// OwnRepos returns the paths of the repositories that are there and have a policy of
// their own.
func (p *Policy) OwnRepos() []string {
	var paths []string
	for i := range p.repos {
		path := p.pathOf(&p.repos[i])
		if _, err := os.Stat(path); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}
